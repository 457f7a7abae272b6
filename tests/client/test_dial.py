"""Connecting by every route: what comes of it, and that a cancelled one leaves nothing at any moment."""

import asyncio
import contextlib
import gc
import itertools
import os
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import caraway
from caraway.client import sockets
from caraway.client.connection import Connection
from caraway.client.dial import Dialer
from caraway.client.tunnel import MAX_PROXY_REPLY
from caraway.endpoint import Endpoint, Proxy
from caraway.errors import DeadlineError, LinkError, TlsError
from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType
from support.certificates import Authority
from support.fake_server import FakeServer
from support.relays import Relay, listening

ROUTES = ["tcp", "unix", "tls", "proxy", "tls by proxy", "https proxy", "tls by https proxy"]


class Certified:
    """An authority and a server's context for localhost."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority()
        issued = self.authority.issue(folder / "server", [("CN", "localhost")], dns=["localhost"], ip=["127.0.0.1"])
        self.ca_file = issued / "ca-cert.pem"
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(issued / "server-cert.pem", issued / "server-key.pem")


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return Certified(tmp_path_factory.mktemp("certified"))


class Host:
    """A server at the end of a route."""

    def __init__(self, route: str, certified: Certified, folder: Path) -> None:
        self.route = route
        self.accepted = asyncio.Event()
        self.server = FakeServer([(ChannelType.INPUTS, 0)])
        self.requests: list[str] = []
        self._certified = certified
        self._path = folder / "spice" if route == "unix" else None
        self._port = 0
        self._behind = 0
        """Port of the server behind a proxy."""
        self._onward: Relay | None = None

    @property
    def endpoint(self) -> Endpoint:
        if self._path:
            return Endpoint(unix_path=str(self._path))
        proxy = None
        if "proxy" in self.route:
            scheme = "https" if "https" in self.route else "http"
            proxy = Proxy(scheme=scheme, host="127.0.0.1", port=self._port, username="me", password="pw")
        host, port = ("localhost", 61000) if proxy else ("127.0.0.1", self._port)
        if self.route.startswith("tls"):
            return Endpoint(host=host, tls_port=port, ca=self._certified.authority.pem, proxy=proxy)
        return Endpoint(host=host, port=port, proxy=proxy)

    def has(self, sock: socket.socket) -> bool:
        """Whether a socket is the server's or the proxy's."""
        behind = ("127.0.0.1", self._behind)
        own = {("127.0.0.1", self._port), behind, str(self._path)}
        if self._onward is not None:
            own |= {end.get_extra_info("sockname") for piped in self._onward.connections for end in piped.ends[1:]}
        with contextlib.suppress(OSError):
            return sock.getsockname() in own or sock.getpeername() == behind
        return False

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            serve, tls = self._serve, self._certified.context if self.route.startswith("tls") else None
            if "proxy" in self.route:
                self._behind = await stack.enter_async_context(listening(self._serve, tls=tls))
                self._onward = Relay("127.0.0.1", self._behind)
                serve, tls = self._let_through, self._certified.context if "https" in self.route else None
            self._port = await stack.enter_async_context(listening(serve, tls=tls, path=self._path))
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.set()
        try:
            await self.server.serve(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    async def _let_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._onward is not None
        self.accepted.set()
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 200 OK\r\nVia: test\r\n\r\n")
            await self._onward.serve(reader, writer)
        except (OSError, EOFError):
            writer.transport.abort()


@pytest.fixture(params=ROUTES)
async def host(
    request: pytest.FixtureRequest, certified: Certified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Host]:
    # What the system trusts, which is what counts for https proxies.
    monkeypatch.setenv("SSL_CERT_FILE", str(certified.ca_file))
    made = Host(request.param, certified, tmp_path)
    async with made.listening():
        yield made


def open_sockets(host: Host | None = None) -> set[str]:
    """The process's sockets, without those of a server."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            what = os.readlink(f"/proc/self/fd/{name}")
            if what.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(name))) as copy:
                    if host is None or not host.has(copy):
                        found.add(what)
    return found


async def at_once(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


async def cancel_after(work: Awaitable[Any], steps: int) -> bool:
    """Let the loop run so many steps and cancel the work. False if it was done before."""
    task = asyncio.ensure_future(work)
    for _ in range(steps):
        await asyncio.sleep(0)
    return await cancelled(task)


async def cancelled(task: asyncio.Future[Any]) -> bool:
    """Cancel a task that connects; close what it gave if it was done before."""
    if task.done():
        await task.result().aclose()
        return False
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return True


async def until_gone(tasks: set[Any]) -> None:
    """Let the server see the end of what was cancelled, so that its tasks do not add up."""
    async with asyncio.timeout(10):
        while asyncio.all_tasks() - tasks:  # noqa: ASYNC110
            await asyncio.sleep(0)


def dialling(dialer: Dialer) -> Awaitable[Connection]:
    return dialer.dial(ChannelType.INPUTS, 0, 1, Capabilities())


async def test_link_by_every_route(host: Host) -> None:
    connection = await dialling(Dialer(host.endpoint, ""))
    assert connection.secure == ("tls" in host.route or "https" in host.route)
    assert connection.local == (host.route == "unix")
    if not connection.local:
        sock = connection._transport.get_extra_info("socket")  # type: ignore[union-attr]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    if "proxy" in host.route:
        target = "localhost:61000"
        assert host.requests == [
            f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic bWU6cHc=\r\n\r\n"
        ]
    await connection.aclose()


async def test_cancelled_at_any_step(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    # A thread would take another number of steps each time.
    monkeypatch.setattr("asyncio.to_thread", at_once)
    dialer = Dialer(host.endpoint, "")
    tasks = asyncio.all_tasks()
    await (await dialling(dialer)).aclose()
    await until_gone(tasks)
    before = open_sockets(host)
    for steps in itertools.count():
        if not await cancel_after(dialling(dialer), steps):
            break
        assert open_sockets(host) == before, f"cancelled after {steps} steps"
        await until_gone(tasks)
    assert steps > 5
    gc.collect()


async def test_cancelled_when_the_server_accepts(host: Host) -> None:
    tasks, before = asyncio.all_tasks(), open_sockets(host)
    for later in range(12):
        host.accepted.clear()
        task = asyncio.ensure_future(dialling(Dialer(host.endpoint, "")))
        await host.accepted.wait()
        for _ in range(later):
            await asyncio.sleep(0)
        if await cancelled(task):
            assert open_sockets(host) == before, f"cancelled {later} steps later"
        await until_gone(tasks)
    gc.collect()


async def test_session_cancelled_at_any_step(certified: Certified, tmp_path: Path) -> None:
    host = Host("tcp", certified, tmp_path)
    async with host.listening():
        tasks = asyncio.all_tasks()
        await (await caraway.connect(host.endpoint)).aclose()
        await until_gone(tasks)
        before = open_sockets(host)
        for steps in itertools.count():
            if not await cancel_after(caraway.connect(host.endpoint)._connect(), steps):
                break
            assert open_sockets(host) == before, f"cancelled after {steps} steps"
            await until_gone(tasks)
        assert steps > 10
    gc.collect()


async def test_cancelled_while_only_imports_are_missing(
    certified: Certified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host("tcp", certified, tmp_path)
    go_on = threading.Event()
    monkeypatch.setattr(sys.modules["caraway.client.connect"], "preload", lambda channels: go_on.wait(60))
    async with host.listening():
        tasks = asyncio.all_tasks()
        before = open_sockets(host)
        connecting = asyncio.ensure_future(caraway.connect(host.endpoint)._connect())
        await host.server.inputs()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not connecting.done()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        go_on.set()
        assert open_sockets(host) == before
        await until_gone(tasks)


# the addresses of a host


class Names:
    """What a host's name stands for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[tuple[str, int]] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._look_up)

    async def _look_up(self, host: str, port: int, **options: Any) -> list[Any]:
        assert host == "many"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self.addresses]


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


def refusing() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()


async def test_next_address_when_one_refuses(names: Names) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        names.addresses = [refusing(), server.getsockname(), refusing()]
        with await sockets.open_tcp("many", 1) as connected:
            assert connected.getpeername() == server.getsockname()


async def test_next_address_beside_one_that_is_silent(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "NEXT_ADDRESS_DELAY", 0.01)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as silent,
        socket.create_connection(silent.getsockname()),
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        names.addresses = [silent.getsockname(), server.getsockname()]
        before = open_sockets()
        with await sockets.open_tcp("many", 1) as connected:
            assert connected.getpeername() == server.getsockname()
            assert len(open_sockets() - before) == 1


async def test_cancelled_with_several_addresses(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "NEXT_ADDRESS_DELAY", 0)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        names.addresses = [one.getsockname(), other.getsockname()]
        before, tasks = open_sockets(), asyncio.all_tasks()
        for steps in itertools.count():
            task = asyncio.ensure_future(sockets.open_tcp("many", 1))
            for _ in range(steps):
                await asyncio.sleep(0)
            if task.done():
                task.result().close()
                break
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (open_sockets(), asyncio.all_tasks()) == (before, tasks), f"cancelled after {steps} steps"
        assert steps > 3


async def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(*args: Any, **options: Any) -> list[Any]:
        families = [socket.AF_INET6, socket.AF_INET6, socket.AF_INET6, socket.AF_INET]
        return [(family, socket.SOCK_STREAM, 6, "", number) for number, family in enumerate(families)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    assert [address for _, address in await sockets._addresses("many", 1)] == [0, 3, 1, 2]


async def test_all_addresses_refuse(names: Names, tmp_path: Path) -> None:
    names.addresses = [refusing(), refusing()]
    with pytest.raises(LinkError, match=r"^main 0 of spice://many:5: Connection refused$"):
        await caraway.connect("spice://many:5")
    names.addresses = []
    with pytest.raises(LinkError, match="the host has no address"):
        await caraway.connect("spice://many:5")


# proxies that do not let one through


async def through(port: int, scheme: str = "http", **options: Any) -> None:
    await caraway.connect(
        Endpoint(host="far", port=5, proxy=Proxy(scheme=scheme, host="127.0.0.1", port=port)), **options
    )


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "the proxy closed the connection"),
        (b"HTTP/1.1 200 OK\r\n", "the proxy closed the connection"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refused to connect to far port 5: 'HTTP/1.1 403 Forbidden'"),
        (b"HTTP/1.1 407\r\nProxy-Authenticate: Basic\r\n\r\n", "refused to connect to far port 5: 'HTTP/1.1 407'"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "refused"),
        (b"220 smtp.example.org\r\n\r\n", "refused to connect to far port 5: '220 smtp.example.org'"),
        (b"\r\n\r\n", "refused to connect to far port 5: ''"),
        (b"x" * (MAX_PROXY_REPLY + 1), "refused to connect to far port 5: 'xxx"),
    ],
    ids=lambda value: value[:12],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_answer_of_a_proxy(
    certified: Certified, monkeypatch: pytest.MonkeyPatch, scheme: str, answer: bytes, error: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certified.ca_file))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with listening(serve, tls=certified.context if scheme == "https" else None) as port:
        with pytest.raises(LinkError, match=f"^proxy {scheme}://127.0.0.1:{port}: {error}"):
            await through(port, scheme)


async def test_proxy_that_is_silent() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        await reader.read(-1)

    async with listening(serve) as port:
        with pytest.raises(DeadlineError, match=r"connecting: not within 0.1 s"):
            await through(port, timeout=0.1)


async def test_proxy_goes_right_behind_its_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    async with listening(serve) as port:
        with pytest.raises(LinkError, match="main 0 of spice://far:5"):
            await through(port)


async def test_server_speaks_right_behind_a_proxys_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n220 smtp.example.org\r\n")
        await reader.read(-1)

    async with listening(serve) as port:
        with pytest.raises(LinkError, match="far port 5 spoke before the client"):
            await through(port)


async def test_https_proxy_that_the_system_does_not_trust(certified: Certified) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("spoken to")

    async with listening(serve, tls=certified.context) as port:
        with pytest.raises(TlsError, match=f"^proxy https://127.0.0.1:{port}: CERTIFICATE_VERIFY_FAILED"):
            await through(port, "https")


async def test_tls_with_what_does_not_speak_it(certified: Certified) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"220 smtp.example.org\r\n")
        await reader.read(-1)

    async with listening(serve) as port:
        with pytest.raises(TlsError, match="main 0 of spice"):
            await caraway.connect(Endpoint(host="127.0.0.1", tls_port=port, ca=certified.authority.pem))
        with pytest.raises(TlsError, match=r"^proxy https"):
            await through(port, "https")


async def test_tls_that_ends_in_the_handshake(certified: Certified) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with listening(serve) as port:
        with pytest.raises(LinkError, match="main 0 of spice"):
            await caraway.connect(Endpoint(host="127.0.0.1", tls_port=port, ca=certified.authority.pem))
