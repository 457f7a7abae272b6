"""The control socket, driven by the library that QEMU's own tools use."""

import asyncio
import contextlib
import json
import logging
import os
import socket
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import EventListener, ExecuteError, QMPClient

import caraway
from caraway.errors import AuthError, LinkError
from caraway.qemu.monitor import connect_monitor
from caraway.qemu.process import QmpError
from caraway.server import FramebufferGuest, Server, control
from caraway.server.commands import expiry
from caraway.server.control import ControlSocket
from caraway.server.qmp import MAX_REQUEST
from caraway.wire.constants import ChannelType
from support.certificates import Authority


class Controlled(Server):
    """A server with a control socket."""

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(FramebufferGuest(64, 48), host="127.0.0.1", port=0, **options)
        self.path = path
        self.quit = asyncio.Event()

    @property
    def uri(self) -> str:
        return f"spice://127.0.0.1:{self.port}"


@asynccontextmanager
async def controlled(folder: Path, **options: Any) -> AsyncIterator[Controlled]:
    server = Controlled(folder / "control", **options)
    async with server, ControlSocket(server, server.path, quit=server.quit.set):
        yield server


@asynccontextmanager
async def client(server: Controlled) -> AsyncIterator[QMPClient]:
    logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
    made = QMPClient()
    await made.connect(str(server.path))
    try:
        yield made
    finally:
        with contextlib.suppress(EOFError):
            await made.disconnect()


@asynccontextmanager
async def raw(server: Controlled) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(server.path, limit=1 << 24)
    assert json.loads(await reader.readline())["QMP"]["capabilities"] == []
    try:
        yield reader, writer
    finally:
        writer.close()


async def refused(monitor: QMPClient, command: str, **arguments: object) -> str:
    with pytest.raises(ExecuteError) as caught:
        await monitor.execute(command, arguments)
    assert caught.value.error_class == "GenericError"
    return str(caught.value)


async def test_commands(tmp_path: Path) -> None:
    async with controlled(tmp_path) as server, client(server) as monitor:
        version = await monitor.execute("query-version")
        assert version["qemu"] == {"major": 7, "minor": 2, "micro": 0}
        assert version["package"].startswith("caraway ")
        names = {command["name"] for command in await monitor.execute("query-commands")}
        assert names >= {"query-spice", "set_password", "expire_password", "quit"}
        assert await monitor.execute("query-spice") == {
            "enabled": True,
            "migrated": False,
            "host": "127.0.0.1",
            "port": server.port,
            "auth": "none",
            "compiled-version": version["package"].removeprefix("caraway "),
            "mouse-mode": "server",
            "channels": [],
        }


async def test_own_monitor(tmp_path: Path) -> None:
    """What drives QEMU here drives this."""
    async with controlled(tmp_path) as server, connect_monitor(f"unix:{server.path}") as monitor:
        assert (await monitor.execute("query-spice"))["enabled"]
        with pytest.raises(QmpError, match="Could not set password"):
            await monitor.execute("set_password", protocol="spice", password="x")


async def test_channels_and_events(tmp_path: Path) -> None:
    async with controlled(tmp_path) as server, client(server) as monitor:
        with monitor.listener() as heard:
            async with caraway.connect(server.uri, channels=["inputs"]):
                await asyncio.wait_for(events(heard, "SPICE_INITIALIZED", 2), 10)
                told = await monitor.execute("query-spice")
            left = await asyncio.wait_for(events(heard, "SPICE_DISCONNECTED", 2), 10)
        [viewer] = {channel["connection-id"] for channel in told["channels"]}
        assert -(1 << 31) <= viewer < 1 << 31
        for channel in told["channels"]:
            assert channel["host"] == "127.0.0.1"
            assert channel["family"] == "ipv4"
            assert channel["tls"] is False
        types = [channel["channel-type"] for channel in told["channels"]]
        assert types == [ChannelType.MAIN, ChannelType.INPUTS]
        gone = {event["data"]["client"]["port"] for event in left}
        assert gone == {channel["port"] for channel in told["channels"]}
        assert (await monitor.execute("query-spice"))["channels"] == []


async def events(heard: EventListener, name: str, count: int) -> list[Any]:
    found: list[Any] = []
    async for event in heard:
        if event["event"] == name:
            found.append(event)
            if len(found) == count:
                return found
    raise AssertionError


async def test_addresses_of_tls(tmp_path: Path) -> None:
    """They are known to the end, and on a Unix socket they are QEMU's words for it."""
    folder = Authority().issue(tmp_path / "x509", [("CN", "localhost")])
    tls = (folder / "server-cert.pem", folder / "server-key.pem")
    unix = tmp_path / "spice"
    async with controlled(tmp_path, tls=tls, unix_path=unix) as server, client(server) as monitor:
        with monitor.listener() as heard:
            uri = f"spice+tls://127.0.0.1:{server.port}"
            settings = {"ca_file": str(folder / "ca-cert.pem"), "host_subject": "CN=localhost"}
            async with caraway.connect(uri, channels=[], **settings):
                [channel] = (await monitor.execute("query-spice"))["channels"]
                assert channel["tls"] is True
            [gone] = await asyncio.wait_for(events(heard, "SPICE_DISCONNECTED", 1), 10)
            assert gone["data"]["client"] == {name: channel[name] for name in ("host", "port", "family")}
            assert gone["data"]["server"]["port"] == str(server.port)
            async with caraway.connect(f"spice+unix://{unix}", channels=[]):
                [event] = await asyncio.wait_for(events(heard, "SPICE_CONNECTED", 1), 10)
                here = {"host": "localhost", "port": "", "family": "unix"}
                assert event["data"] == {"server": here, "client": here}


async def test_password(tmp_path: Path) -> None:
    async with controlled(tmp_path, password="old") as server, client(server) as monitor:

        async def opens(password: str) -> bool:
            try:
                async with caraway.connect(server.uri, password=password, channels=[]):
                    return True
            except AuthError:
                return False

        async def set_password(password: str, **more: str) -> object:
            return await monitor.execute("set_password", {"protocol": "spice", "password": password, **more})

        async def expire(time: str) -> object:
            return await monitor.execute("expire_password", {"protocol": "spice", "time": time})

        assert (await monitor.execute("query-spice"))["auth"] == "spice"
        assert await set_password("new") == {}
        assert (await opens("old"), await opens("new")) == (False, True)
        assert await refused(monitor, "set_password", protocol="spice", password="x" * 61) == "Could not set password"
        assert await opens("new")
        assert await expire("now") == {}
        assert not await opens("new")
        await set_password("newer")
        assert not await opens("newer"), "a new password is not valid for longer"
        await expire("never")
        assert await opens("newer")


async def test_password_while_connected(tmp_path: Path) -> None:
    async with controlled(tmp_path, password="old") as server, client(server) as monitor:
        async with caraway.connect(server.uri, password="old", channels=[]) as session:
            arguments = {"protocol": "spice", "password": "new"}
            assert await refused(monitor, "set_password", **arguments, connected="fail") == "Could not set password"
            assert await monitor.execute("set_password", {**arguments, "connected": "keep"}) == {}
            assert len(server.viewers) == 1
            assert await monitor.execute("set_password", {**arguments, "connected": "disconnect"}) == {}
            with pytest.raises(LinkError):
                await asyncio.wait_for(session.until(asyncio.Event().wait()), 10)
        assert await monitor.execute("set_password", {**arguments, "connected": "fail"}) == {}


@pytest.mark.parametrize(
    "text", ["now", "foo", "", "+", "-1", "+-1", "12x", "1335196800", "0x7fffffff", "1.5", "9" * 23, "NEVER"]
)
def test_expired(text: str) -> None:
    when = expiry(text)
    assert when is not None
    assert when < time.time() + 1


def test_not_expired() -> None:
    assert expiry("never") is None
    now = time.time()
    for text in ("+60", "+ 60", "++60", "+60x"):
        when = expiry(text)
        assert when is not None
        assert 59 < when - now < 120
    assert expiry(" 4102444800x") == expiry("4102444800") == 4102444800


async def test_quit(tmp_path: Path) -> None:
    async with controlled(tmp_path) as server, client(server) as monitor:
        with monitor.listener("SHUTDOWN") as heard:
            assert await monitor.execute("quit") == {}
            assert (await heard.get())["data"] == {"guest": False, "reason": "host-qmp-quit"}
        assert server.quit.is_set()


async def test_several_clients(tmp_path: Path) -> None:
    """Each hears the events, once it has negotiated."""
    async with (
        controlled(tmp_path) as server,
        client(server) as one,
        client(server) as other,
        raw(server) as (reader, writer),
    ):
        with one.listener() as first, other.listener() as second:
            async with caraway.connect(server.uri, channels=[]):
                ids = []
                for heard in (first, second):
                    [event] = await asyncio.wait_for(events(heard, "SPICE_INITIALIZED", 1), 10)
                    ids.append(event["data"]["client"]["connection-id"])
            assert ids[0] == ids[1]
        writer.write(b'{"execute": "query-spice", "id": 1}')
        assert json.loads(await reader.readline())["id"] == 1, "nothing was said before"


async def test_private_path(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        async with controlled(tmp_path) as server:
            assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
            with pytest.raises(LinkError, match="in use"):
                await ControlSocket(server, server.path, quit=server.quit.set).start()
        assert not server.path.exists()
    finally:
        os.umask(mask)


async def test_left_behind_path(tmp_path: Path) -> None:
    """A socket that nobody serves is replaced; a file is not."""
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with controlled(tmp_path) as server, client(server) as monitor:
        await monitor.execute("query-version")
    path.write_text("mine")
    with pytest.raises(LinkError, match="in use"):
        async with controlled(tmp_path):
            pass
    assert path.read_text() == "mine"


async def test_path_of_another(tmp_path: Path) -> None:
    """A path that was taken over in the meantime stays."""
    async with controlled(tmp_path) as server:
        server.path.unlink()
        server.path.write_text("another's")
    assert server.path.read_text() == "another's"


async def test_request_without_end(tmp_path: Path) -> None:
    async with controlled(tmp_path) as server, raw(server) as (reader, writer), client(server) as monitor:
        writer.write(b'{"execute": "' + b"x" * (MAX_REQUEST + 1))
        refusal = json.loads(await reader.readline())
        assert refusal["error"]["desc"] == "JSON token size limit exceeded"
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        await monitor.execute("query-version")


async def test_client_that_does_not_read_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_UNREAD", 1000)
    server = Controlled(tmp_path / "control")
    async with (
        server,
        ControlSocket(server, server.path, quit=server.quit.set) as control_socket,
        raw(server) as (reader, writer),
        client(server) as monitor,
    ):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b'{"execute": "qmp_capabilities"}')
        with monitor.listener("__org.caraway_TEST") as heard:
            while len(control_socket._clients) == 2:
                control_socket.emit("__org.caraway_TEST", {"text": "x" * 500})
                await heard.get()
        await monitor.execute("query-version")


async def test_client_that_does_not_read_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "READ_DEADLINE", 0.01)
    async with controlled(tmp_path) as server, raw(server) as (reader, writer), client(server) as monitor:
        reader._transport.pause_reading()  # type: ignore[attr-defined]

        async def ask_on() -> None:
            while True:
                writer.write(b'{"execute": "query-version"}' * 1000)
                await writer.drain()

        with pytest.raises(ConnectionError):
            await ask_on()
        await monitor.execute("query-version")


async def test_too_many_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_CLIENTS", 1)
    async with controlled(tmp_path) as server:
        async with client(server) as monitor:
            reader, writer = await asyncio.open_unix_connection(server.path)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
            await monitor.execute("query-version")
        async with client(server) as monitor:
            await monitor.execute("query-version")


async def test_clients_are_closed_in_the_end(tmp_path: Path) -> None:
    """One that is in the middle of a request, too."""
    async with controlled(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        await reader.readline()
        writer.write(b'{"execute": ')
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


async def test_migration_is_told(tmp_path: Path) -> None:
    async with (
        controlled(tmp_path) as server,
        client(server) as monitor,
        caraway.connect(server.uri, migration="semi-seamless", channels=["display", "inputs"]) as viewer,
        Server(FramebufferGuest(64, 48), host="127.0.0.1", port=0) as target,
    ):
        await viewer.display.ready()
        target.guest.set_running(False)
        target.guest.set_incoming(True)
        names = ["VIEWER_LINKED", "VIEWER_LEFT", "MIGRATION_OVER"]
        with monitor.listener(("SPICE_MIGRATE_COMPLETED", *(f"__org.caraway_{name}" for name in names))) as events:
            about = {"protocol": "spice", "hostname": "127.0.0.1"}
            assert await monitor.execute("client_migrate_info", {**about, "port": target.port}) == {}
            linked = await asyncio.wait_for(events.get(), 10)
            [id] = server.viewers
            id -= (id >> 31) << 32
            assert linked["event"] == "__org.caraway_VIEWER_LINKED"
            assert linked["data"] == {"announcement": 1, "connection-id": id, "mode": "semi-seamless"}
            assert (await monitor.execute("query-spice"))["migrated"] is False
            await monitor.execute("__org.caraway_migrate_start")
            server.guest.set_running(False)
            target.guest.set_incoming(False)
            target.guest.set_running(True)
            await monitor.execute("__org.caraway_migrate_end", {"completed": True})
            told = [await asyncio.wait_for(events.get(), 10) for _ in range(3)]
        names = ["__org.caraway_VIEWER_LEFT", "SPICE_MIGRATE_COMPLETED", "__org.caraway_MIGRATION_OVER"]
        assert [event["event"] for event in told] == names
        assert told[0]["data"] == {"announcement": 1, "connection-id": id}
        assert told[2]["data"] == {"announcement": 1, "outcome": "completed"}
        assert (await monitor.execute("query-spice"))["migrated"] is True
        assert "has moved" in await refused(monitor, "client_migrate_info", **about, port=1)
        server.guest.set_running(True)
        assert (await monitor.execute("query-spice"))["migrated"] is False


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({"hostname": "x"}, "Parameter 'protocol' is missing"),
        ({"protocol": "spice"}, "Parameter 'hostname' is missing"),
        ({"protocol": "spice", "hostname": "x"}, "Parameter 'port/tls-port' is missing"),
        ({"protocol": "vnc", "hostname": "x", "port": 1}, "Parameter 'protocol' expects 'spice'"),
        ({"protocol": "spice", "hostname": "x", "port": "1"}, "Invalid parameter type for 'port', expected: integer"),
    ],
)
async def test_wrong_target(tmp_path: Path, arguments: dict[str, Any], answer: str) -> None:
    async with controlled(tmp_path) as server, client(server) as monitor:
        assert await refused(monitor, "client_migrate_info", **arguments) == answer


@pytest.mark.parametrize(
    "place", [{"hostname": "", "port": 1}, {"hostname": "x", "port": 70000}, {"hostname": "x", "port": 0}]
)
async def test_target_that_cannot_be(tmp_path: Path, place: dict[str, Any]) -> None:
    async with controlled(tmp_path) as server, client(server) as monitor:
        answer = await refused(monitor, "client_migrate_info", protocol="spice", **place)
        assert answer.startswith("Could not set up display for migration: ")
