import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.client.connection import WRITE_BUFFER_HIGH, Connection
from caraway.client.flow import MAX_QUEUED, ChannelFlow
from caraway.errors import LinkError
from caraway.wire.acks import ReceiveWindow, SendWindow
from caraway.wire.framing import Frame, FrameReader
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import Ack, AckSync, Pong
from caraway.wire.messages.inputs import KeyScancode


class Pipe(asyncio.Transport):
    """A transport whose peer reads when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.high = self.low = 0
        self.buffered = 0
        self.protocol: Any = None
        self.paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high, self.low = high or 0, low or 0

    def is_closing(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        self.written += data
        self.buffered += len(data)
        if self.buffered > self.high and not self.paused:
            self.paused = True
            self.protocol.pause_writing()

    def peer_reads(self, count: int) -> None:
        self.buffered = max(0, self.buffered - count)
        if self.paused and self.buffered <= self.low:
            self.paused = False
            self.protocol.resume_writing()


class Machine:
    mini_header = True


@pytest.fixture
async def pipe() -> Pipe:
    return Pipe()


@pytest.fixture
async def flow(pipe: Pipe) -> ChannelFlow:
    connection = Connection("inputs 0 of test")
    connection.connection_made(pipe)
    connection.machine = Machine()  # type: ignore[assignment]
    pipe.protocol = connection
    return ChannelFlow(connection)


def frames(pipe: Pipe, *, mini: bool = True) -> list[Frame]:
    return list(FrameReader(mini=mini).feed(bytes(pipe.written)))


async def test_transport_gets_no_more_than_its_buffer_holds(flow: ChannelFlow, pipe: Pipe) -> None:
    body = bytes(1000)
    for _ in range(100):
        flow.send(KeyScancode(body))
    assert WRITE_BUFFER_HIGH < len(pipe.written) <= WRITE_BUFFER_HIGH + 1006
    waiting = asyncio.ensure_future(flow.drained())
    before = len(pipe.written)
    pipe.peer_reads(1000)
    assert len(pipe.written) == before
    while pipe.paused:
        pipe.peer_reads(len(pipe.written))
    await asyncio.wait_for(waiting, 10)
    assert len(frames(pipe)) == flow.sent_serial == 100


async def test_messages_keep_their_order(flow: ChannelFlow, pipe: Pipe) -> None:
    for number in range(500):
        flow.send(KeyScancode(number.to_bytes(4, "little") * 64))
        if number % 7 == 0:
            pipe.peer_reads(5000)
    while pipe.paused:
        pipe.peer_reads(len(pipe.written))
    assert [int.from_bytes(frame.body[:4], "little") for frame in frames(pipe)] == list(range(500))


def flood(flow: ChannelFlow, message: Message) -> None:
    for _ in range(2 * MAX_QUEUED // (6 + len(message.pack()))):
        flow.send(message)


@pytest.mark.parametrize("message", [KeyScancode(bytes(1 << 16)), Ack()], ids=["large", "empty"])
async def test_peer_that_never_reads(flow: ChannelFlow, pipe: Pipe, message: Message) -> None:
    with pytest.raises(LinkError, match="inputs 0 of test: the server does not read"):
        flood(flow, message)
    assert pipe.paused


async def test_serials_of_full_headers(flow: ChannelFlow, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "mini_header", False)
    for message in AckSync(1), Ack(), Pong(1, 2):
        flow.send(message)
    assert [frame.serial for frame in frames(pipe, mini=False)] == [1, 2, 3]


async def test_received_serials(flow: ChannelFlow) -> None:
    for serial, counted in (0, 1), (0, 2), (7, 7), (0, 8):
        flow.received(Frame(101, b"", serial))
        assert flow.received_serial == counted


@given(window=st.integers(1, 40), messages=st.integers(0, 300), changes=st.sets(st.integers(1, 300)))
def test_window_never_closes_for_a_client_that_takes_all(window: int, messages: int, changes: set[int]) -> None:
    """Whatever the window, and whenever it begins anew, the server may always send on."""
    server, client = SendWindow(window), ReceiveWindow()

    def begin() -> Iterator[None]:
        client.received()
        client.set(window)
        server.synced(server.begin())
        yield

    list(begin())
    for number in range(1, messages + 1):
        if number in changes:
            list(begin())
        assert server.open
        server.sent()
        if client.received():
            server.acknowledged()
