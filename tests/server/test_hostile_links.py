"""Peers that never become viewers: garbage, half of a link, silence, TLS and WebSockets that are none."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caraway.errors import AuthError, CarawayError
from caraway.server import Port
from caraway.server import listener as listening
from caraway.server.websocket import MAX_FRAME, MAX_REQUEST
from caraway.wire.constants import ChannelType
from caraway.wire.link import ClientLink, LinkRefusedError
from support.certificates import Authority
from support.hostile import World
from support.raw_client import raw_client
from support.serving import SeenGuest, serving

some = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
MAIN = ChannelType.MAIN
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: binary\r\n\r\n"
)
HELLO = ClientLink(0, MAIN, 0).data_to_send()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate") / "server"
    return Authority().issue(folder, [("CN", "localhost")], dns=["localhost"], ip=["127.0.0.1"])


@pytest.fixture(scope="module")
def world(certificate: Path) -> Iterator[World]:
    tls = certificate / "server-cert.pem", certificate / "server-key.pem"
    with World(tls=tls, password="secret", users={"anna": "secret"}) as made:
        yield made


@pytest.fixture(scope="module")
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate / "ca-cert.pem"))


class Peer:
    """A connection that says bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def answer(self) -> bytes:
        """Everything until the server ends the connection."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            return await self.reader.read()
        return b""

    async def finish(self) -> bytes:
        with contextlib.suppress(OSError, NotImplementedError):
            self.writer.write_eof()
        return await self.answer()


@asynccontextmanager
async def peer(world: World, **options: Any) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.server.port, **options)
    try:
        async with asyncio.timeout(30):
            yield Peer(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def says(world: World, data: bytes, **options: Any) -> bytes:
    async def attack(w: World) -> bytes:
        async with peer(w, **options) as one:
            await one.say(data)
            return await one.finish()

    return world.run(attack)


@some
@given(data=st.binary(max_size=200))
@pytest.mark.parametrize(
    "start", [b"", b"R", b"REDQ", HELLO[:16], b"GET ", UPGRADE, b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01"]
)
def test_random_bytes_to_the_port(world: World, start: bytes, data: bytes) -> None:
    says(world, start + data)


@some
@given(cut=st.integers(0, len(HELLO)), data=st.data())
def test_a_link_message_cut_short_or_damaged(world: World, cut: int, data: st.DataObject) -> None:
    damaged = bytearray(HELLO)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    says(world, bytes(damaged[:cut]) if data.draw(st.booleans()) else bytes(damaged))


@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize("junk", [b"", b"\0", b"\xff" * 4, b"\xff" * 128, bytes(5000), b"\xff" * 300_000])
def test_junk_in_each_step_of_a_link(world: World, steps: int, junk: bytes) -> None:
    """After the link message, the mechanism, and the ticket, which is wrong or right."""

    async def attack(w: World) -> None:
        async with peer(w) as one:
            machine = ClientLink(0, MAIN, 0, password="secret" if steps == 3 else "wrong")
            for _ in range(steps):
                await one.say(machine.data_to_send())
                with contextlib.suppress(CarawayError):
                    if not machine.done:
                        machine.receive(await one.reader.read(4096))
            await one.say(junk)
            await one.finish()

    world.server.throttle.__init__()  # type: ignore[misc]
    world.run(attack)


@pytest.mark.parametrize("mechanism", [0, 1, 2, 3, 0xFFFFFFFF])
def test_any_mechanism_in_plain_text(world: World, mechanism: int) -> None:
    says(world, HELLO + struct.pack("<I", mechanism) + bytes(200))


SASL_JUNK = [
    struct.pack("<I", 0),
    struct.pack("<I", 0xFFFFFFFF),
    struct.pack("<I", 5) + b"PLAIN" + struct.pack("<I", 0xFFFFFFFF),
    struct.pack("<I", 5) + b"PLAIN" + struct.pack("<I", 4) + b"abc\0",
    struct.pack("<I", 5) + b"PLAIN" + struct.pack("<I", 3) + b"abc",
    struct.pack("<I", 5) + b"PLAIN" + struct.pack("<I", 9) + b"\0anna\0no\0",
    struct.pack("<I", 5) + b"PLAIN" + struct.pack("<I", 10) + b"\0\xff\xfe\0\xff\xfe\0xx\0",
    struct.pack("<I", 13) + b"SCRAM-SHA-256" + struct.pack("<I", 5) + b"n,,a\0",
    struct.pack("<I", 13) + b"SCRAM-SHA-256" + struct.pack("<I", 13) + b"n,,n=anna,r=\0",
    struct.pack("<I", 13) + b"SCRAM-SHA-256" + struct.pack("<I", 15) + b"n,,n=\xff,r=abcd\xff\0",
    struct.pack("<I", 13)
    + b"SCRAM-SHA-256"
    + struct.pack("<I", 17)
    + b"n,,n=anna,r=abcd\0"
    + struct.pack("<I", 6)
    + b"c=x,r\0",
    struct.pack("<I", 13) + b"SCRAM-SHA-\xff\xff\xff",
]


@pytest.mark.parametrize("junk", SASL_JUNK, ids=range(len(SASL_JUNK)))
def test_junk_in_sasl(world: World, trusting: ssl.SSLContext, junk: bytes) -> None:
    world.server.throttle.__init__()  # type: ignore[misc]
    said = HELLO + struct.pack("<I", 2) + junk + bytes(300)
    says(world, said, ssl=trusting, server_hostname="localhost")


def test_bytes_that_trickle(world: World) -> None:
    async def attack(w: World) -> None:
        async with peer(w) as one:
            for byte in HELLO:
                await one.say(bytes([byte]))
                await asyncio.sleep(0.001)
            assert (await one.reader.readexactly(4)) == b"REDQ"
            await w.check()

    world.run(attack)


def test_half_open_and_silent_connections(world: World) -> None:
    async def attack(w: World) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for number in range(200):
                one = await stack.enter_async_context(peer(w))
                await one.say(HELLO[: number % len(HELLO)])
                if number % 3 == 0:
                    one.writer.write_eof()
            await w.check()
            async with w.client(password="secret") as client:
                await client.main()

    world.run(attack)


def test_connections_that_are_reset(world: World) -> None:
    async def attack(w: World) -> None:
        for number in range(100):
            made = socket.create_connection(("127.0.0.1", w.server.port))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            made.send((HELLO, UPGRADE, b"\x16\x03\x01\x02\x00", HELLO[:7])[number % 4])
            if number % 2:
                await asyncio.sleep(0)
            made.close()

    world.run(attack)


def test_tls_records_that_are_none(world: World, trusting: ssl.SSLContext) -> None:
    """The begin of a real handshake, then anything."""
    dice = random.Random(1)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    for _ in range(20):
        damaged = bytearray(hello)
        damaged[dice.randrange(6, len(hello))] ^= 0xFF
        says(world, bytes(damaged))
        says(world, hello + dice.randbytes(300))
        says(world, hello[: dice.randrange(6, len(hello))])


def test_garbage_after_a_tls_handshake(world: World, trusting: ssl.SSLContext) -> None:
    async def attack(w: World) -> None:
        async with peer(w, ssl=trusting, server_hostname="localhost") as one:
            raw: socket.socket = one.writer.get_extra_info("socket")
            raw._sock.send(random.Random(1).randbytes(1000))  # type: ignore[attr-defined]
            await one.answer()

    world.run(attack)


def test_what_is_said_together_with_the_end_of_a_tls_handshake(world: World, trusting: ssl.SSLContext) -> None:
    """A client of TLS 1.3 may finish its handshake and speak at once: its request is answered."""

    async def attack(w: World) -> list[bytes]:
        answers = []
        for said in (UPGRADE, HELLO, b"REDQ" + bytes(12)):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
            async with peer(w) as one:
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.do_handshake()
                await one.say(outgoing.read())
                while True:
                    incoming.write(await one.reader.read(65536))
                    try:
                        client.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        continue
                client.write(said)
                await one.say(outgoing.read())
                while True:
                    data = await one.reader.read(65536)
                    assert data, said
                    incoming.write(data)
                    try:
                        answers.append(client.read(4))
                        break
                    except ssl.SSLWantReadError:
                        continue
        return answers

    assert world.run(attack)[:2] == [b"HTTP", b"REDQ"]


REQUESTS = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET  \r\n\r\n",
    b"GET / HTTP/9.9\r\nA: b\r\n\r\n",
    UPGRADE.replace(b"websocket", b"web\xffsocket"),
    UPGRADE.replace(b"websocket", b"x\ty"),
    UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"\xe9\xe9"),
    UPGRADE.replace(b"13", b"12"),
    UPGRADE.replace(b"Host: x", b"Content-Length: 99999999999"),
    UPGRADE.replace(b"Host: x", b"X: " + b"y" * 20000),
    b"GET /" + b"x" * (2 * MAX_REQUEST),
    UPGRADE.replace(b"Host: x\r\n", b"X: y\r\n" * 1000),
    UPGRADE + UPGRADE,
]


@pytest.mark.parametrize("request_bytes", REQUESTS, ids=range(len(REQUESTS)))
def test_websocket_requests_that_are_none(world: World, request_bytes: bytes) -> None:
    says(world, request_bytes)


def frame(opcode: int, payload: bytes, *, size: int | None = None, masked: bool = True) -> bytes:
    size = len(payload) if size is None else size
    first = bytes([0x80 | opcode])
    mark = 0x80 if masked else 0
    if size < 126:
        head = first + bytes([mark | size])
    elif size < 1 << 16:
        head = first + bytes([mark | 126]) + struct.pack(">H", size)
    else:
        head = first + bytes([mark | 127]) + struct.pack(">Q", size)
    return head + (bytes(4) if masked else b"") + payload


FRAMES = [
    frame(2, b"", size=(1 << 63) - 1),
    frame(2, b"", size=1 << 63),
    frame(2, b"", size=1 << 32),
    frame(2, b"", size=MAX_FRAME + 1),
    frame(2, HELLO, masked=False),
    frame(1, HELLO),
    frame(0, HELLO),
    frame(3, HELLO),
    frame(15, b""),
    frame(9, b"x" * 126),
    frame(8, b"\xff"),
    frame(8, struct.pack(">H", 1)),
    frame(8, struct.pack(">H", 1000) + b"\xff\xff"),
    frame(8, b"") + frame(2, HELLO),
    frame(2, b"") * 1000,
    frame(2, HELLO) + frame(8, b""),
    b"\xff" * 100,
    b"".join(frame(2, bytes([byte])) for byte in HELLO),
]


@pytest.mark.parametrize("said", FRAMES, ids=range(len(FRAMES)))
def test_websocket_frames_that_are_none(world: World, said: bytes) -> None:
    says(world, UPGRADE + said)


def test_pings_of_a_websocket_that_is_not_read(world: World) -> None:
    """Their pongs do not heap up."""

    async def attack(w: World) -> None:
        loop, pings = asyncio.get_running_loop(), frame(9, bytes(125)) * 1000
        with socket.socket() as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.setblocking(False)
            await loop.sock_connect(made, ("127.0.0.1", w.server.port))
            await loop.sock_sendall(made, UPGRADE)
            for _ in range(60):
                await loop.sock_sendall(made, pings)
            connections = [found for task in asyncio.all_tasks() if (found := connection_of(task)) is not None]
            assert max(each.transport.get_write_buffer_size() for each in connections) < 1 << 20

    world.run(attack)


def connection_of(task: asyncio.Task[Any]) -> Any:
    """The server's connection that a task serves."""
    found = getattr(task.get_coro(), "cr_frame", None)
    return found.f_locals.get("connection") if found is not None else None


def test_many_messages_in_one_websocket_frame(world: World) -> None:
    """They wait as bytes, not as objects."""

    async def attack(w: World) -> None:
        async with w.client(password="secret") as client, peer(w) as one:
            await client.main()
            await one.say(UPGRADE)
            await one.reader.readuntil(b"\r\n\r\n")
            link = ClientLink(client.session_id, ChannelType.INPUTS, 0, password="secret")
            while not link.done:
                await one.say(frame(2, link.data_to_send()))
                head = await one.reader.readexactly(2)
                size = head[1]
                if size == 126:
                    (size,) = struct.unpack(">H", await one.reader.readexactly(2))
                link.receive(await one.reader.readexactly(size))
            acks = struct.pack("<HI", 2, 0) * (MAX_FRAME // 6)
            tracemalloc.start()
            try:
                await one.say(frame(2, acks))
                await one.finish()
                assert tracemalloc.get_traced_memory()[1] < 8 * MAX_FRAME
            finally:
                tracemalloc.stop()

    world.run(attack)


async def test_guesses_by_sasl_are_slowed_down(
    certificate: Path, trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = certificate / "server-cert.pem", certificate / "server-key.pem"
    async with serving(tls=tls, users={"anna": "secret"}) as server:
        waited: list[float] = []
        monkeypatch.setattr(server.throttle, "delay", lambda *_: waited.append(0.0) or 0.0)
        failed: list[str] = []
        monkeypatch.setattr(server.throttle, "failed", lambda address, _: failed.append(address))
        async with raw_client(server.port, ssl=trusting, server_hostname="localhost", password="no") as client:
            with pytest.raises(AuthError):
                await client.main(username="anna")
    assert waited == [0.0]
    assert failed == ["127.0.0.1"]


async def test_who_opens_many_connections_displaces_only_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MAX_LINKING", 4)
    async with serving() as server:
        quiet = await asyncio.open_connection("127.0.0.1", server.port)
        flood = [
            await asyncio.open_connection("127.0.0.1", server.port, local_addr=("127.0.0.2", 0)) for _ in range(10)
        ]
        async with asyncio.timeout(10):
            for reader, _ in flood[:7]:
                assert await reader.read() == b""
        quiet[1].write(HELLO)
        assert await quiet[0].readexactly(4) == b"REDQ"
        for _, writer in (quiet, *flood):
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_a_port_that_goes_while_its_viewer_authenticates(caplog: pytest.LogCaptureFixture) -> None:
    guest = SeenGuest()
    guest.ports = [Port("org.example.0")]
    async with serving(guest, password="secret") as server, raw_client(server.port, password="secret") as client:
        await client.main()
        check = server.access.check

        def gone(ticket: Any) -> Any:
            guest.ports = []
            return check(ticket)

        server.access.check = gone  # type: ignore[method-assign]
        with pytest.raises(LinkRefusedError):
            await client.link(ChannelType.PORT)
    assert "the server failed" not in caplog.text
