"""Links, viewers and their end, over real sockets."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

import caraway
from caraway.errors import AuthError, EndpointError, LinkError, ProtocolError
from caraway.server import FramebufferGuest, Server
from caraway.server import listener as listening
from caraway.wire.capabilities import Capabilities, MainCapability
from caraway.wire.constants import ChannelType, LinkErrorCode
from caraway.wire.link import LinkRefusedError
from caraway.wire.messages.common import Disconnecting
from caraway.wire.messages.inputs import MouseMotionAck
from caraway.wire.messages.main import AttachChannels, ChannelsList, Init, Name, Uuid
from support.certificates import Authority
from support.leaks import nothing_left
from support.raw_client import RawClient, raw_client
from support.serving import SeenGuest, serving, until

MAIN, INPUTS, CURSOR = ChannelType.MAIN, ChannelType.INPUTS, ChannelType.CURSOR


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate") / "server"
    return Authority().issue(folder, [("CN", "localhost")], dns=["localhost"], ip=["127.0.0.1"])


@pytest.fixture(scope="module")
def tls(certificate: Path) -> tuple[Path, Path]:
    return certificate / "server-cert.pem", certificate / "server-key.pem"


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate / "ca-cert.pem"))


async def refused(client: RawClient, *channel: Any, **options: Any) -> LinkErrorCode | int:
    with pytest.raises(LinkRefusedError) as caught:
        await client.link(*channel, **options)
    return caught.value.code


async def test_a_viewer_learns_who_the_guest_is() -> None:
    guest = SeenGuest(name="Käse")
    async with serving(guest, password="secret") as server, raw_client(server.port, password="secret") as client:
        main = await client.link(MAIN, connection_id=0, channel=Capabilities([MainCapability.NAME_AND_UUID]))
        init = await main.expect(Init)
        assert init.session_id in server.viewers
        assert (await main.expect(Name)).name == "Käse"
        main.send(AttachChannels())
        entries = {(entry.type, entry.id) for entry in (await main.expect(ChannelsList)).entries}
        assert {(INPUTS, 0), (CURSOR, 0)} <= entries


async def test_name_and_uuid_only_to_who_asked() -> None:
    import uuid

    async with serving(SeenGuest(name="x", uuid=uuid.uuid4())) as server, raw_client(server.port) as client:
        main = await client.main()
        main.send(AttachChannels())
        while not isinstance(message := await main.receive(), ChannelsList):
            assert not isinstance(message, Name | Uuid)


async def test_a_wrong_password_is_denied_and_the_server_goes_on() -> None:
    async with serving(password="secret") as server:
        async with raw_client(server.port, password="wrong") as client:
            with pytest.raises(AuthError):
                await client.main()
        async with raw_client(server.port, password="secret") as client:
            await client.main()
        server.set_password("other")
        async with raw_client(server.port, password="secret") as client:
            with pytest.raises(AuthError):
                await client.main()


async def test_channels_need_a_session_that_lives() -> None:
    async with serving() as server, raw_client(server.port) as client:
        assert await refused(client, INPUTS, connection_id=12345) == LinkErrorCode.BAD_CONNECTION_ID
        assert await refused(client, INPUTS, connection_id=0) == LinkErrorCode.BAD_CONNECTION_ID
        main = await client.main()
        await client.link(INPUTS)
        main.writer.close()
        await until(lambda: not server.viewers)
        assert await refused(client, INPUTS) == LinkErrorCode.BAD_CONNECTION_ID


@pytest.mark.parametrize("channel", [(MAIN, 1), (INPUTS, 1), (CURSOR, 7), (ChannelType.SMARTCARD, 0), (99, 0)])
async def test_channels_that_are_not_there_are_named_so(channel: tuple[Any, int]) -> None:
    async with serving() as server, raw_client(server.port) as client:
        await client.main()
        assert await refused(client, *channel) == LinkErrorCode.CHANNEL_NOT_AVAILABLE


async def test_closing_main_closes_the_others() -> None:
    async with serving() as server, raw_client(server.port) as client:
        main = await client.main()
        inputs = await client.link(INPUTS)
        main.writer.close()
        await inputs.ended()
        await until(lambda: not server.viewers)


async def test_a_channel_is_nobody_elses_while_it_lives() -> None:
    """Who knows a session's id and the password still cannot take its channels away."""
    async with serving() as server, raw_client(server.port) as client, raw_client(server.port) as thief:
        await client.main()
        first = await client.link(INPUTS)
        thief.session_id = client.session_id
        assert await refused(thief, INPUTS) == LinkErrorCode.CHANNEL_NOT_AVAILABLE
        first.send_raw(101, b"\x1e\0\0\0")
        assert await server.guest.until_seen(1) == [("keys", b"\x1e")]


async def test_a_channel_that_has_ended_is_linked_again() -> None:
    async with serving() as server, raw_client(server.port) as client:
        await client.main()
        first = await client.link(INPUTS)
        viewer = server.viewers[client.session_id]
        first.writer.close()
        await until(lambda: (INPUTS, 0) not in viewer.channels or viewer.channels[INPUTS, 0].ended)
        (await client.link(INPUTS)).send_raw(101, b"\x1e\0\0\0")
        assert await server.guest.until_seen(1) == [("keys", b"\x1e")]


async def test_a_channel_that_is_about_to_end_is_linked_again() -> None:
    """Its successor does not go with it."""
    async with serving() as server, raw_client(server.port) as client:
        await client.main()
        first = await client.link(CURSOR)
        viewer = server.viewers[client.session_id]
        over = asyncio.Event()

        async def lingers() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await over.wait()

        old = viewer.channels[CURSOR, 0]
        old.spawn(lingers())
        await until(lambda: len(old._tasks) == 2)
        old.fail(LinkError("over"))
        await client.link(CURSOR)
        new = viewer.channels[CURSOR, 0]
        assert new is not old
        over.set()
        await first.ended()
        assert viewer.channels[CURSOR, 0] is new
        assert not new.ended


async def test_wrong_session_ids_count_like_wrong_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server, raw_client(server.port) as client:
        await client.main()
        failed: list[str] = []
        monkeypatch.setattr(server.throttle, "failed", lambda address, _: failed.append(address))
        await refused(client, INPUTS, connection_id=client.session_id ^ 1)
        assert failed == ["127.0.0.1"]
        await client.link(INPUTS)
        await refused(client, INPUTS)
        assert failed == ["127.0.0.1"]


async def test_a_session_that_has_just_ended_is_no_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server, raw_client(server.port) as client:
        main = await client.main()
        main.writer.close()
        await until(lambda: not server.viewers)
        failed: list[str] = []
        monkeypatch.setattr(server.throttle, "failed", lambda address, _: failed.append(address))
        assert await refused(client, INPUTS) == LinkErrorCode.BAD_CONNECTION_ID
        assert not failed


async def test_session_ids_are_not_guessed_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server, raw_client(server.port) as client:
        waited: list[str] = []
        monkeypatch.setattr(server.throttle, "delay", lambda address, _: waited.append(address) or 0.0)
        await refused(client, INPUTS, connection_id=1)
        assert waited == ["127.0.0.1"]


async def test_a_newcomer_takes_over() -> None:
    async with serving() as server, raw_client(server.port) as first, raw_client(server.port) as second:
        main, inputs = await first.main(), await first.link(INPUTS)
        await second.main()
        await main.ended()
        await inputs.ended()
        assert [*server.viewers] == [second.session_id]


async def test_viewers_share() -> None:
    async with serving(sharing="share") as server, raw_client(server.port) as first, raw_client(server.port) as second:
        for client in (first, second):
            await client.main()
        inputs = [await client.link(INPUTS) for client in (first, second)]
        inputs[0].send_raw(101, b"\x1e\0\0\0")
        await server.guest.until_seen(1)
        inputs[1].send_raw(101, b"\x1f\0\0\0")
        assert await server.guest.until_seen(2) == [("keys", b"\x1e"), ("keys", b"\x1f")]
        assert len(server.viewers) == 2


async def test_the_first_viewer_stays_where_others_are_refused() -> None:
    async with serving(sharing="refuse") as server, raw_client(server.port) as first, raw_client(server.port) as second:
        await first.main()
        with pytest.raises(AuthError):
            await second.main()
        assert [*server.viewers] == [first.session_id]


async def test_who_may_only_look_touches_nothing() -> None:
    options = {"password": "full", "view_only_password": "look", "sharing": "share"}
    async with serving(**options) as server, raw_client(server.port, password="look") as watcher:
        await watcher.main()
        inputs = await watcher.link(INPUTS)
        for type, body in ((101, b"\x1e\0\0\0"), (104, b"\x1f"), (103, b"\x07\0"), (113, b"\x01\x01\0")):
            inputs.send_raw(type, body)
        inputs.send_raw(112, bytes(11))
        for _ in range(3):
            inputs.send_raw(111, bytes(10))
        await inputs.expect(MouseMotionAck)
        async with raw_client(server.port, password="full") as user:
            await user.main()
            (await user.link(INPUTS)).send_raw(101, b"\x20\0\0\0")
            assert await server.guest.until_seen(1) == [("keys", b"\x20")]


async def test_the_view_only_password_opens_no_channel_of_another() -> None:
    options = {"password": "full", "view_only_password": "look"}
    async with serving(**options) as server, raw_client(server.port, password="full") as user:
        await user.main()
        assert await refused(user, INPUTS, password="look") == LinkErrorCode.BAD_CONNECTION_ID


async def test_tls_and_plain_on_one_port(certificate: Path, tls: Any) -> None:
    async with serving(tls=tls) as server:
        async with raw_client(server.port, ssl=trusting(certificate), server_hostname="localhost") as client:
            await client.main()
            assert next(iter(server.viewers.values())).channels[MAIN, 0].connection.secure
        async with raw_client(server.port) as client:
            await client.main()


async def test_the_tls_port_takes_nothing_else(certificate: Path, tls: Any) -> None:
    async with serving(tls_port=0, tls=tls) as server:
        async with raw_client(server.tls_port) as client:
            with pytest.raises((LinkError, ConnectionError)):
                await client.main()
        async with raw_client(server.tls_port, ssl=trusting(certificate)) as client:
            await client.main()


async def test_channels_that_need_tls(certificate: Path, tls: Any) -> None:
    policy = {"secure_channels": [INPUTS], "plain_channels": [CURSOR]}
    async with serving(tls=tls, **policy) as server, raw_client(server.port) as client:
        await client.main()
        assert await refused(client, INPUTS) == LinkErrorCode.NEED_SECURED
        await client.link(CURSOR)
        client.options = {"ssl": trusting(certificate)}
        await client.link(INPUTS)
        assert await refused(client, CURSOR) == LinkErrorCode.NEED_UNSECURED


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
async def test_users(certificate: Path, tls: Any, mechanism: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caraway.wire.link.SASL_MECHANISMS", (mechanism,))
    async with serving(tls=tls, users={"anna": "secret"}) as server:
        async with raw_client(server.port, ssl=trusting(certificate), password="secret") as client:
            await client.main(username="anna")
        async with raw_client(server.port, ssl=trusting(certificate), password="wrong") as client:
            with pytest.raises(AuthError):
                await client.main(username="anna")
        async with raw_client(server.port, ssl=trusting(certificate)) as client:
            with pytest.raises(AuthError):
                await client.main()


async def test_users_need_tls() -> None:
    async with serving(users={"anna": "secret"}) as server, raw_client(server.port) as client:
        with pytest.raises((AuthError, LinkError, ProtocolError)):
            await client.main()
        assert not server.viewers


async def test_a_unix_socket_is_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "spice.sock"
    async with serving(unix_path=path, password="secret") as server:
        assert path.stat().st_mode & 0o777 == 0o600
        async with caraway.connect(f"spice+unix://{path}", password="secret"):
            assert next(iter(server.viewers.values())).address == "local"
    assert not path.exists()


async def test_a_socket_left_over_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "spice.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with serving(unix_path=path):
        with pytest.raises(LinkError, match="Address already in use"):
            await Server(SeenGuest(), unix_path=path).start()
        assert path.exists()


async def test_a_port_in_use_is_named() -> None:
    async with serving() as server:
        with pytest.raises(LinkError, match=f"port {server.port}: Address already in use"):
            await Server(SeenGuest(), host="127.0.0.1", port=server.port).start()


def test_a_server_without_a_place() -> None:
    with pytest.raises(EndpointError):
        Server(FramebufferGuest(1, 1))
    with pytest.raises(EndpointError):
        Server(FramebufferGuest(1, 1), tls_port=0)


async def test_the_end_is_told_and_leaves_nothing() -> None:
    with nothing_left():
        async with serving() as server:
            client = RawClient(server.port)
            main, inputs = await client.main(), await client.link(INPUTS)
            silent = await asyncio.open_connection("127.0.0.1", server.port)
            told = asyncio.create_task(main.expect(Disconnecting))
        await told
        await main.ended()
        await inputs.ended()
        assert await silent[0].read() == b""
        silent[1].close()
        await silent[1].wait_closed()
        await client.aclose()


async def test_who_does_not_link_in_time_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "LINK_DEADLINE", 0.05)
    async with serving() as server:
        for start in (b"", b"REDQ", b"GET /"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(start)
            async with asyncio.timeout(10):
                assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()


async def test_silent_connections_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MAX_LINKING", 4)
    async with serving() as server, raw_client(server.port) as client:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(10)]
        await client.main()
        async with asyncio.timeout(10):
            for reader, _ in silent[:6]:
                assert await reader.read() == b""
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()


async def test_more_connections_than_allowed_are_refused() -> None:
    async with serving(max_connections=2) as server, raw_client(server.port) as client:
        await client.main()
        await client.link(INPUTS)
        with pytest.raises((LinkError, ConnectionError)):
            await client.link(CURSOR)


async def test_one_address_leaves_room_for_others(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        serving(max_connections_of_address=2, sharing="share") as server,
        raw_client(server.port) as client,
        raw_client(server.port, local_addr=("127.0.0.2", 0)) as other,
    ):
        await client.main()
        inputs = await client.link(INPUTS)
        with pytest.raises((LinkError, ConnectionError)):
            await client.link(CURSOR)
        assert "from 127.0.0.1 is refused: it has 2" in caplog.text
        await other.main()
        inputs.writer.close()
        viewer = server.viewers[client.session_id]
        await until(lambda: (INPUTS, 0) not in viewer.channels and len(server._listener._connections) == 2)
        await client.link(CURSOR)


@pytest.mark.parametrize(
    ("family", "host", "origin"),
    [
        (socket.AF_INET, "192.0.2.7", "192.0.2.7"),
        (socket.AF_INET6, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (socket.AF_INET6, "fe80::1%lo", "fe80::/64"),
        (socket.AF_UNIX, "local", "local"),
    ],
)
def test_where_a_client_comes_from(family: int, host: str, origin: str) -> None:
    assert listening._origin(family, host) == origin


async def test_a_fault_of_the_server_costs_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    guest = SeenGuest()
    guest.keys = lambda scancodes: 1 / 0  # type: ignore[method-assign, assignment]
    async with serving(guest) as server, raw_client(server.port) as client:
        main = await client.main()
        inputs = await client.link(INPUTS)
        inputs.send_raw(101, b"\x1e\0\0\0")
        await inputs.ended()
        assert "the server failed" in caplog.text
        main.send(AttachChannels())
        await main.expect(ChannelsList)
