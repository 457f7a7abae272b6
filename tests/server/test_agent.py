"""The agent's conversations, without sockets."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.errors import DeadlineError, LinkError, ProtocolError
from caraway.server import Display, Guest, agent_client
from caraway.server.agent import Agent
from caraway.server.agent_client import AGENT_TOKENS, FLOODED, MAX_LATER
from caraway.server.guest import Monitor
from caraway.wire.messages.agent import (
    AgentCapability,
    AgentHeader,
    AgentMessage,
    AnnounceCapabilities,
    Clipboard,
    ClipboardGrab,
    ClipboardRelease,
    ClipboardRequest,
    ClipboardType,
    DisplayConfig,
    DisplayConfigFlags,
    FileXferData,
    FileXferResult,
    FileXferStart,
    FileXferStatus,
    GraphicsDevice,
    GraphicsDeviceInfo,
    MonitorConfig,
    MonitorsConfig,
    MonitorsConfigFlags,
    MouseState,
    MouseStateButtons,
    Selection,
)
from caraway.wire.messages.inputs import MouseButtons
from caraway.wire.messages.main import (
    AgentConnected,
    AgentConnectedTokens,
    AgentDisconnected,
    AgentToken,
)
from support.agents import ABLE, MANY, SERVER, AgentViewer, FittedGuest, World, raw, same

TEXT, PNG = ClipboardType.UTF8_TEXT, ClipboardType.IMAGE_PNG


def test_without_an_agent_nothing_is_said() -> None:
    agent = Agent(Guest())
    agent.attach()
    viewer = AgentViewer(agent)
    viewer.client.start(MANY)
    viewer.client.data(b"")
    assert not agent.connected
    assert not viewer.sent


def test_the_agent_comes_and_goes_and_comes() -> None:
    world = World()
    world.stub.close()
    changes: list[bool] = []
    world.agent.changed.connect(lambda: changes.append(world.agent.connected))
    new, old = AgentViewer(world.agent), AgentViewer(world.agent, connected_tokens=False)
    assert world.stub.port.connected
    world.stub.open()
    assert [type(message) for message in new.sent] == [AgentConnectedTokens]
    assert [type(message) for message in old.sent] == [AgentConnected]
    world.stub.close()
    assert isinstance(new.sent[-1], AgentDisconnected)
    assert isinstance(old.sent[-1], AgentDisconnected)
    assert changes == [True, False]


def test_tokens_come_back_in_batches_of_five() -> None:
    world = World()
    viewer = world.viewer()
    viewer.sent.clear()
    for _ in range(60):
        viewer.say(DisplayConfig(DisplayConfigFlags(0), 0))
    assert [message.num_tokens for message in viewer.sent if isinstance(message, AgentToken)] == [5] * 12
    assert len(world.stub.said) == 60


def test_a_client_may_not_send_without_a_token() -> None:
    world = World()
    viewer = world.viewer()
    world.stub.port.pause()
    for _ in range(viewer.tokens):
        viewer.say(DisplayConfig(DisplayConfigFlags(0), 0))
    with pytest.raises(ProtocolError, match="token"):
        viewer.say(DisplayConfig(DisplayConfigFlags(0), 0))


def test_tokens_after_the_agent_has_come_again() -> None:
    world = World()
    viewers = [world.viewer(), world.viewer(connected_tokens=False)]
    world.stub.port.pause()
    for viewer in viewers:
        for _ in range(3):
            viewer.say(DisplayConfig(DisplayConfigFlags(0), 0))
    world.stub.close()
    world.stub.port.resume()
    world.stub.open()
    for viewer in viewers:
        assert viewer.tokens == AGENT_TOKENS
        viewer.start()
        for _ in range(30):
            viewer.say(DisplayConfig(DisplayConfigFlags(0), 0))
    assert world.stub.types().count(DisplayConfig.number) == 60


def test_what_is_said_before_agent_start_is_dropped() -> None:
    world = World()
    viewer = AgentViewer(world.agent)
    for _ in range(2 * AGENT_TOKENS):
        viewer.client.data(b"anything")
    world.stub.announce()
    assert not world.stub.said
    assert not viewer.sent


def test_the_server_speaks_by_the_tokens_it_has() -> None:
    world = World()
    viewer = world.viewer()
    viewer.client.start(2)
    viewer.body_sizes.clear()
    world.stub.send_raw(99, bytes(2048 * 5 - 20))
    assert viewer.body_sizes == [2048] * 2
    viewer.client.add_tokens(1)
    assert viewer.body_sizes == [2048] * 3
    viewer.client.add_tokens(MANY)
    assert viewer.body_sizes == [2048] * 5


def test_the_guest_is_asked_to_stop_while_a_viewer_does_not_listen() -> None:
    world = World()
    viewer = world.viewer()
    drained: list[None] = []
    world.stub.port.drained.connect(lambda: drained.append(None))
    viewer.room = False
    while not world.stub.port.flooded:
        world.stub.send(Clipboard(Selection.CLIPBOARD, TEXT, b""))
        world.stub.send_raw(99, bytes(1000))
    viewer.room = True
    viewer.client.pump()
    assert drained
    assert not world.stub.port.flooded
    assert len(viewer.body_sizes) > FLOODED / 1020


def test_a_viewer_that_leaves_lets_the_guest_go_on() -> None:
    world = World()
    viewer = world.viewer()
    viewer.room = False
    world.stub.send_raw(99, bytes(2 * FLOODED))
    assert world.stub.port.flooded
    viewer.client.close()
    assert not world.stub.port.flooded


async def test_a_guest_that_does_not_stop_costs_the_viewer_its_channel() -> None:
    world = World()
    viewer = world.viewer()
    viewer.room = False
    for _ in range(5):
        world.stub.send_raw(99, bytes(8 << 20))
    with pytest.raises(LinkError, match="does not listen"):
        await viewer.client.watch()


async def test_a_viewer_that_gives_no_token_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_client, "PATIENCE", 0.05)
    world = World()
    viewer = world.viewer()
    viewer.client.start(0)
    world.stub.send_raw(99, b"")
    with pytest.raises(DeadlineError):
        await viewer.client.watch()


async def test_a_viewer_that_owes_nothing_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_client, "PATIENCE", 0.01)
    world = World()
    viewer = world.viewer()
    world.stub.send_raw(99, bytes(100))
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.1):
            await viewer.client.watch()
    assert not isinstance(caught.value, DeadlineError)


async def test_a_viewer_that_stays_in_a_message_is_let_go_if_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_client, "PATIENCE", 0.05)
    world = World()
    slow, other = world.viewer(), world.viewer()
    slow.give(raw(99, b"begin", 100))
    watch = asyncio.ensure_future(slow.client.watch())
    done, _ = await asyncio.wait({watch}, timeout=0.15)
    assert not done
    other.say(DisplayConfig(DisplayConfigFlags(0), 0))
    with pytest.raises(DeadlineError):
        await watch
    slow.client.close()
    assert [type(message) for message in world.stub.messages()] == [DisplayConfig]


@pytest.mark.parametrize(
    "bodies",
    [
        [b""],
        [raw(99, b"")[:19]],
        [raw(99, bytes(2029))],
        [raw(99, b"abc") + raw(99, b"")],
        [raw(99, b"", 3), b"abcd"],
        [raw(99, b"", 3), b""],
        [AgentHeader(2, 99, 0, 0).pack()],
        [raw(99, b"", 1 << 30)],
        [raw(MonitorsConfig.number, b"", 8193)],
        [raw(MonitorsConfig.number, struct.pack("<II", 300, 0) + bytes(300))],
        [raw(MonitorsConfig.number, struct.pack("<II", 2, 0))],
        [raw(MonitorsConfig.number, struct.pack("<7I", 1, 0, 20000, 1, 32, 0, 0))],
        [raw(ClipboardGrab.number, b"abc")],
        [raw(FileXferStart.number, b"abc")],
        [raw(FileXferStatus.number, b"abc")],
        [raw(AnnounceCapabilities.number, b"abc")],
        [raw(Clipboard.number, b"abc")],
    ],
)
def test_violations_end_the_main_channel(bodies: list[bytes]) -> None:
    world = World()
    hostile, other = world.viewer(), world.viewer()
    for body in bodies[:-1]:
        hostile.give(body)
    with pytest.raises(ProtocolError):
        hostile.give(bodies[-1])
    hostile.client.close()
    other.say(DisplayConfig(DisplayConfigFlags(0), 7))
    assert [type(message) for message in world.stub.messages()] == [DisplayConfig]


def test_a_violation_found_while_another_viewer_speaks_is_not_its_fault() -> None:
    world = World()
    hostile, other = world.viewer(), world.viewer()
    other.give(raw(99, b"ab", 4))
    hostile.give(raw(ClipboardGrab.number, b"abc"))
    other.give(b"cd")
    assert world.stub.said[-1] == (1, 99, b"abcd")
    with pytest.raises(ProtocolError):
        hostile.give(raw(99, b""))


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_garbage_of_a_viewer_is_an_error_of_the_protocol_or_none(bodies: list[bytes]) -> None:
    world = World()
    viewer = world.viewer()
    try:
        for body in bodies:
            viewer.give(raw(body[0] % 20, body[1:]) if body and body[0] & 1 else body)
    except ProtocolError:
        pass
    viewer.client.close()
    world.viewer().say(DisplayConfig(DisplayConfigFlags(0), 1))
    assert world.stub.types()[-1] == DisplayConfig.number


@given(st.binary(min_size=1, max_size=200), st.integers(0, 3))
def test_garbage_of_the_agent_costs_no_viewer(garbage: bytes, how: int) -> None:
    world = World()
    viewer = world.viewer()
    if how:
        world.stub.send_raw(garbage[0] % 18, garbage[1:], how)
    world.stub.port.write(garbage)
    viewer.say(DisplayConfig(DisplayConfigFlags(0), 1))
    viewer.client.pump()


def test_an_agent_that_says_garbage_is_closed_until_it_opens_again() -> None:
    world = World()
    viewer = world.viewer()
    world.stub.port.write(struct.pack("<II", 3, 20) + bytes(20))
    assert not world.agent.connected
    assert not world.stub.port.connected
    assert isinstance(viewer.sent[-1], AgentDisconnected)
    world.stub.announce()
    assert not viewer.heard
    world.stub.close()
    assert world.stub.port.connected
    assert not world.agent.connected
    world.stub.open()
    assert isinstance(viewer.sent[-1], AgentConnectedTokens)
    viewer.start()
    viewer.say(DisplayConfig(DisplayConfigFlags(0), 1))
    assert DisplayConfig.number in world.stub.types()


@given(st.data(), st.lists(st.binary(max_size=5000), min_size=1, max_size=4))
def test_the_agents_stream_may_be_cut_anywhere(draw: st.DataObject, contents: list[bytes]) -> None:
    world = World()
    viewer = world.viewer()
    stream = b""
    for content in contents:
        message = raw(2 if len(content) < 100 else 99, content)
        cut = draw.draw(st.integers(0, len(message)))
        for part in (message[:cut], message[cut:]):
            stream += struct.pack("<II", 1, len(part)) + part
        stream += struct.pack("<II", 2, 20) + raw(3, b"")
    found: list[tuple[int, bytes]] = []
    viewer._hear = lambda type, data: found.append((type, data))  # type: ignore[method-assign]
    while stream:
        cut = draw.draw(st.integers(1, len(stream)))
        world.stub.port.write(stream[:cut])
        stream = stream[cut:]
    assert [data for type, data in found if type == 99] == [content for content in contents if len(content) >= 100]
    assert max(viewer.body_sizes) <= 2048


def test_a_viewer_that_comes_in_the_middle_of_a_message_hears_the_next_one() -> None:
    world = World()
    world.viewer()
    message = raw(99, bytes(3000))
    world.stub.port.write(struct.pack("<II", 1, len(message)) + message[:1000])
    late = AgentViewer(world.agent)
    late.client.start(MANY)
    world.stub.port.write(message[1000:])
    assert not late.body_sizes
    world.stub.announce()
    assert [type(message) for message in late.heard] == [AnnounceCapabilities]


def test_what_the_server_says_waits_until_a_viewer_has_heard_the_message() -> None:
    world = World()
    one, two = world.viewer(), world.viewer()
    world.stub.send(ClipboardGrab(Selection.PRIMARY, 0, [TEXT]))
    message = raw(DisplayConfig.number, bytes(8))
    world.stub.port.write(struct.pack("<II", 1, len(message)) + message[:25])
    one.say(ClipboardGrab(Selection.PRIMARY, 1, [PNG]))
    world.stub.port.write(message[25:])
    assert [type(message) for message in two.heard] == [ClipboardGrab, DisplayConfig, ClipboardRelease]


def test_capabilities_that_are_switched_off() -> None:
    world = World(copy_paste=False, file_transfer=False)
    viewer = AgentViewer(world.agent).start()
    (announced,) = viewer.take(AnnounceCapabilities)
    assert not announced.capabilities[0] >> AgentCapability.CLIPBOARD_BY_DEMAND & 1
    assert announced.capabilities[0] >> AgentCapability.FILE_XFER_DISABLED & 1
    world.stub.said.clear()
    viewer.say(ClipboardGrab(None, 0, [TEXT]))
    viewer.say(FileXferStart(5, "x"))
    viewer.say(FileXferData(5, bytes(5000)))
    world.stub.send(ClipboardGrab(Selection.CLIPBOARD, 0, [TEXT]))
    assert not world.stub.said
    (status,) = viewer.take(AgentMessage)
    assert isinstance(status, FileXferStatus)
    assert (status.id, status.result) == (5, FileXferResult.DISABLED)


def test_viewers_that_may_only_look_are_not_heard() -> None:
    world = World()
    viewer = world.viewer(view_only=True)
    for _ in range(30):
        viewer.say(DisplayConfig(DisplayConfigFlags(0), 1))
    viewer.say(FileXferData(1, bytes(9000)))
    assert not world.stub.said
    world.stub.announce()
    assert viewer.take(AnnounceCapabilities)


def test_only_the_server_speaks_for_the_server() -> None:
    world = World()
    viewer = world.viewer()
    viewer.say(MouseState(1, 2, MouseStateButtons(0), 0))
    viewer.say(GraphicsDeviceInfo([]))
    assert not world.stub.said


def test_the_pointer_by_the_agent() -> None:
    world = World()
    changes: list[None] = []
    world.agent.changed.connect(lambda: changes.append(None))
    world.agent.place_pointer(0, 1, 1, MouseButtons.LEFT)
    assert not world.agent.gives_pointer
    assert not world.stub.said
    world.stub.announce()
    assert world.agent.gives_pointer
    assert len(changes) == 1
    world.agent.place_pointer(1, 300, 200, MouseButtons.LEFT | MouseButtons.UP)
    (state,) = world.stub.messages(SERVER)
    assert isinstance(state, MouseState)
    assert (state.x, state.y, state.display_id) == (300, 200, 1)
    assert state.buttons == MouseStateButtons.LEFT | MouseStateButtons.UP


def test_positions_that_wait_become_one_and_clicks_do_not() -> None:
    world = World()
    world.stub.announce()
    world.stub.port.pause()
    for x in range(1000):
        world.agent.place_pointer(0, x, 0, MouseButtons(0))
    world.agent.place_pointer(0, 5, 0, MouseButtons.LEFT)
    world.agent.place_pointer(0, 5, 0, MouseButtons(0))
    world.stub.port.resume()
    states = [message for message in world.stub.messages(SERVER) if isinstance(message, MouseState)]
    assert [(state.x, int(state.buttons)) for state in states] == [(999, 0), (5, 2), (5, 0)]


def test_the_pointer_moves_in_the_middle_of_a_viewers_message() -> None:
    world = World()
    world.stub.announce()
    viewer = world.viewer()
    viewer.give(raw(99, b"ab", 4))
    world.agent.place_pointer(0, 5, 5, MouseButtons(0))
    viewer.give(b"cd")
    assert [(port, type) for port, type, _ in world.stub.said] == [(SERVER, 1), (1, 99)]


def test_devices_are_told_at_agent_start() -> None:
    display = Display(10, 10)
    display.device_address, display.device_display_id = "pci/0000/02.0", 1
    world = World(Guest(Display(10, 10), display))
    AgentViewer(world.agent).start()
    (info,) = world.stub.messages(SERVER)
    assert same([info], [GraphicsDeviceInfo([GraphicsDevice(1, 0, 1, "pci/0000/02.0")])])


@pytest.mark.parametrize("fits", [True, False])
def test_monitors_are_for_a_guest_that_fits_itself(fits: bool) -> None:
    guest = FittedGuest()
    guest.takes = fits
    world = World(guest)
    viewer = world.viewer()
    off = MonitorConfig(0, 0, 0, 0, 0)
    wanted = MonitorsConfig(
        MonitorsConfigFlags.USE_POS,
        [MonitorConfig(600, 800, 32, 0, 0), MonitorConfig(480, 640, 32, 800, -5), off],
        None,
    )
    viewer.say(wanted)
    assert guest.fitted == [[Monitor(0, 0, 800, 600), Monitor(800, -5, 640, 480)]]
    assert same(world.stub.messages(), [] if fits else [wanted])
    for _ in range(20):
        viewer.say(wanted)


def test_monitors_in_many_small_bodies() -> None:
    guest = FittedGuest()
    world = World(guest)
    viewer = world.viewer()
    message = raw(
        MonitorsConfig.number, MonitorsConfig(MonitorsConfigFlags(0), [MonitorConfig(6, 8, 32, 1, 1)], None).pack()
    )
    viewer.give(message[:20])
    for byte in message[20:]:
        viewer.give(bytes([byte]))
    assert guest.fitted == [[Monitor(0, 0, 8, 6)]]


def test_a_viewer_that_asks_on_and_on_while_the_agent_speaks() -> None:
    world = World()
    viewer = world.viewer()
    message = raw(99, bytes(100))
    world.stub.port.write(struct.pack("<II", 1, len(message)) + message[:50])
    request = ClipboardRequest(Selection.CLIPBOARD, ClipboardType.UTF8_TEXT)
    for _ in range(MAX_LATER):
        viewer.say(request)
    with pytest.raises(LinkError, match="on and on"):
        viewer.say(request)


def test_an_agent_that_asks_on_and_on_and_does_not_read() -> None:
    world = World()
    world.viewer()
    world.stub.port.pause()
    for _ in range(5000):
        world.stub.send(ClipboardRequest(Selection.CLIPBOARD, ClipboardType.UTF8_TEXT))
    world.stub.port.resume()
    assert 0 < len(world.stub.said) < 5000


def test_the_port_is_free_again_when_the_server_has_ended() -> None:
    world = World()
    viewer = world.viewer()
    world.agent.close()
    assert not world.stub.port.connected
    assert not len(world.stub.port.output)
    viewer.say(DisplayConfig(DisplayConfigFlags(0), 1))
    world.stub.announce()
    viewer.client.close()
    assert not world.stub.said


def test_a_guest_that_fits_itself_needs_no_agent() -> None:
    guest = FittedGuest()
    guest.fits = True
    agent = Agent(guest)
    agent.attach()
    assert agent.connected
    assert not agent.gives_pointer
    viewer = AgentViewer(agent).start()
    (announced,) = viewer.take(AnnounceCapabilities)
    assert announced.capabilities[0] >> AgentCapability.MONITORS_CONFIG & 1
    for _ in range(20):
        viewer.say(MonitorsConfig(MonitorsConfigFlags(0), [MonitorConfig(6, 8, 32, 1, 1)], None))
        viewer.say(ClipboardRequest(None, ClipboardType.UTF8_TEXT))
        viewer.say(FileXferStart(1, "x"))
    assert guest.fitted == [[Monitor(0, 0, 8, 6)]] * 20


def test_the_stand_in_leaves_when_the_guests_agent_comes() -> None:
    guest = FittedGuest()
    guest.fits = True
    world = World(guest)
    world.stub.close()
    viewer = AgentViewer(world.agent).start()
    assert viewer.agent_capabilities not in (0, ABLE)
    world.stub.open()
    assert [type(message) for message in viewer.sent[-2:]] == [AgentDisconnected, AgentConnectedTokens]
    viewer.start()
    assert viewer.agent_capabilities == ABLE
    world.stub.port.write(bytes(100))
    assert isinstance(viewer.sent[-1], AgentConnectedTokens)
    assert not world.stub.port.connected
    viewer.start()
    assert viewer.agent_capabilities not in (0, ABLE)
    world.stub.announce()
    viewer.say(MonitorsConfig(MonitorsConfigFlags(0), [MonitorConfig(6, 8, 32, 1, 1)], None))
    assert guest.fitted == [[Monitor(0, 0, 8, 6)]]
