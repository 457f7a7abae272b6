"""The embedded guest's agent, spoken to in chunks as a server does."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caraway.embedded import EmbeddedGuest
from caraway.embedded.agent import MAX_TEXT
from caraway.wire.agent_stream import AgentStream, agent_bodies
from caraway.wire.messages.agent import (
    AgentCapability,
    AgentMessage,
    AnnounceCapabilities,
    Clipboard,
    ClipboardGrab,
    ClipboardRelease,
    ClipboardRequest,
    ClipboardType,
    MonitorConfig,
    MonitorsConfig,
    MonitorsConfigFlags,
    Reply,
    ReplyError,
    Selection,
    unpack_agent,
)

MINE = sum(
    1 << capability
    for capability in (
        AgentCapability.REPLY,
        AgentCapability.CLIPBOARD_BY_DEMAND,
        AgentCapability.CLIPBOARD_SELECTION,
        AgentCapability.CLIPBOARD_GRAB_SERIAL,
    )
)


class Client:
    """A viewer behind a server: what it says goes to the agent in chunks."""

    def __init__(self, guest: EmbeddedGuest) -> None:
        assert guest.agent is not None
        self.port = guest.agent
        self.agreed = 0
        self.messages: list[AgentMessage] = []
        self._stream = AgentStream()
        self.port.output.connect(self._output)

    def _output(self, data: bytes) -> None:
        port, size = struct.unpack_from("<II", data)
        assert (port, size) == (1, len(data) - 8)
        for type, body in self._stream.feed(data[8:]):
            message = unpack_agent(type, body, self.agreed)
            assert message is not None
            self.messages.append(message)

    def chunks(self, message: AgentMessage, port: int = 1) -> bytes:
        return b"".join(struct.pack("<II", port, len(body)) + body for body in agent_bodies(message, self.agreed))

    def send(self, message: AgentMessage) -> None:
        self.port.received(self.chunks(message))

    def take(self) -> list[AgentMessage]:
        taken, self.messages = self.messages, []
        return taken

    def announce(self) -> None:
        self.send(AnnounceCapabilities(True, [MINE]))
        (answer,) = self.take()
        assert isinstance(answer, AnnounceCapabilities)
        assert not answer.request
        self.agreed = MINE & answer.capabilities[0]


@pytest.fixture
def guest() -> EmbeddedGuest:
    return EmbeddedGuest(640, 480)


@pytest.fixture
def client(guest: EmbeddedGuest) -> Client:
    client = Client(guest)
    client.announce()
    return client


def text(message: AgentMessage) -> str:
    assert isinstance(message, Clipboard)
    assert message.type is ClipboardType.UTF8_TEXT
    return bytes(message.data).decode()


def test_it_announces_itself_to_a_viewer_that_comes(guest: EmbeddedGuest) -> None:
    client = Client(guest)
    client.port.connected = True
    client.port.viewer_opening()
    (hello,) = client.take()
    assert isinstance(hello, AnnounceCapabilities)
    assert hello.request
    client.send(AnnounceCapabilities(False, [MINE]))
    assert client.take() == []
    guest.copy("hello")
    client.agreed = MINE
    assert len(client.take()) == 1


def test_what_the_viewer_copies_is_fetched(guest: EmbeddedGuest, client: Client) -> None:
    client.send(ClipboardGrab(Selection.CLIPBOARD, 0, [ClipboardType.IMAGE_PNG, ClipboardType.UTF8_TEXT]))
    (request,) = client.take()
    assert isinstance(request, ClipboardRequest)
    assert request.type is ClipboardType.UTF8_TEXT
    client.send(Clipboard(Selection.CLIPBOARD, ClipboardType.UTF8_TEXT, "grüße".encode()))
    assert guest.clipboard == "grüße"
    guest.keys(b"\x1d\x2f\xaf\x9d")
    assert guest.typed == "grüße"
    client.send(ClipboardRelease(Selection.CLIPBOARD))
    assert guest.clipboard == ""


def test_a_crossing_grab_is_void(guest: EmbeddedGuest, client: Client) -> None:
    guest.copy("newer")
    client.take()
    client.send(ClipboardGrab(Selection.CLIPBOARD, 0, [ClipboardType.UTF8_TEXT]))
    assert client.take() == []
    assert guest.clipboard == "newer"


def test_what_the_guest_copies_is_offered_and_given(guest: EmbeddedGuest, client: Client) -> None:
    guest.type("from the guest")
    guest.keys(b"\x1d\x2e\xae\x9d")
    (grab,) = client.take()
    assert isinstance(grab, ClipboardGrab)
    assert (grab.serial, grab.types) == (0, [ClipboardType.UTF8_TEXT])
    client.send(ClipboardRequest(Selection.CLIPBOARD, ClipboardType.UTF8_TEXT))
    client.send(ClipboardRequest(Selection.CLIPBOARD, ClipboardType.IMAGE_PNG))
    given_text, refused = client.take()
    assert text(given_text) == "from the guest"
    assert isinstance(refused, Clipboard)
    assert refused.type is ClipboardType.NONE


def test_a_long_text_comes_whole(guest: EmbeddedGuest, client: Client) -> None:
    guest.copy("x" * (MAX_TEXT + 10))
    client.send(ClipboardRequest(Selection.CLIPBOARD, ClipboardType.UTF8_TEXT))
    _, answer = client.take()
    assert len(text(answer)) == MAX_TEXT


def test_a_viewer_that_does_not_read_gets_refusals(guest: EmbeddedGuest, client: Client) -> None:
    guest.copy("x" * MAX_TEXT)
    client.port.flooded = True
    client.send(ClipboardRequest(Selection.CLIPBOARD, ClipboardType.UTF8_TEXT))
    _, answer = client.take()
    assert isinstance(answer, Clipboard)
    assert answer.type is ClipboardType.NONE


@pytest.mark.parametrize(
    ("size", "result"), [((800, 600), ReplyError.SUCCESS), ((10, 10), ReplyError.ERROR), ((0, 0), ReplyError.ERROR)]
)
def test_the_display_follows_the_window(
    guest: EmbeddedGuest, client: Client, size: tuple[int, int], result: ReplyError
) -> None:
    width, height = size
    client.send(MonitorsConfig(MonitorsConfigFlags(0), [MonitorConfig(height, width, 32, 0, 0)], None))
    (reply,) = client.take()
    assert isinstance(reply, Reply)
    assert reply.error is result
    assert (guest.display.width, guest.display.height) == (size if result is ReplyError.SUCCESS else (640, 480))


def test_a_state_in_the_middle_of_a_message(guest: EmbeddedGuest, client: Client) -> None:
    long = Clipboard(Selection.CLIPBOARD, ClipboardType.UTF8_TEXT, b"x" * 5000)
    chunks = client.chunks(long)
    client.port.received(chunks[:3000])
    other = EmbeddedGuest(320, 200)
    other.restore(guest.state())
    assert other.agent is not None
    other.agent.received(chunks[3000:])
    assert other.clipboard == "x" * 5000


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 64))
def test_rubbish_makes_it_begin_anew(rubbish: bytes, at: int) -> None:
    guest = EmbeddedGuest(320, 200, memory=1 << 18)
    client = Client(guest)
    opened: list[bool] = []
    client.port.opening.connect(lambda: opened.append(client.port.opened))
    client.announce()
    good = client.chunks(ClipboardRelease(Selection.CLIPBOARD))
    client.port.received(good[:at] + rubbish + struct.pack("<II", 9, 9) * 600)
    assert opened == [False, True]
    client.agreed = 0
    client.announce()
