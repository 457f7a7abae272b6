"""The agent on the main channel, over real sockets."""

from __future__ import annotations

from typing import TypeVar

from caraway.server import Port
from caraway.wire.agent_stream import AgentStream, agent_bodies
from caraway.wire.capabilities import Capabilities, MainCapability
from caraway.wire.constants import ChannelType
from caraway.wire.messages.agent import (
    AgentMessage,
    AnnounceCapabilities,
    Clipboard,
    ClipboardGrab,
    ClipboardRequest,
    ClipboardType,
    MouseState,
    MouseStateButtons,
    Selection,
    unpack_agent,
)
from caraway.wire.messages.inputs import MouseButton, MouseButtons, MousePosition, MousePress, MouseRelease
from caraway.wire.messages.main import (
    AgentConnectedTokens,
    AgentData,
    AgentDisconnected,
    AgentStart,
    AgentToken,
    ClientAgentData,
    ClientAgentToken,
    Init,
    MouseMode,
    MouseModeRequest,
    MouseModes,
)
from support.agents import ABLE, SERVER, AgentStub, raw
from support.raw_client import RawChannel, raw_client
from support.serving import SeenGuest, serving, until

A = TypeVar("A", bound=AgentMessage)
KNOWS = Capabilities([MainCapability.NAME_AND_UUID, MainCapability.AGENT_CONNECTED_TOKENS])
MANY = 0xFFFFFFFF


class Talk:
    """A client's conversation with the agent."""

    def __init__(self, main: RawChannel) -> None:
        self.main, self.stream, self.tokens = main, AgentStream(), 10
        self.messages: list[tuple[int, bytes]] = []

    async def say(self, message: AgentMessage) -> None:
        for body in agent_bodies(message, ABLE):
            while not self.tokens:
                await self._next()
            self.tokens -= 1
            self.main.send(ClientAgentData(body))

    async def expect(self, kind: type[A]) -> A:
        while True:
            while self.messages:
                message = unpack_agent(*self.messages.pop(0), ABLE)
                if isinstance(message, kind):
                    return message
            await self._next()

    async def _next(self) -> None:
        message = await self.main.receive()
        if isinstance(message, AgentToken):
            self.tokens += message.num_tokens
        elif isinstance(message, AgentData):
            self.messages += self.stream.feed(message.data)


async def begun(main: RawChannel) -> Talk:
    main.send(AgentStart(MANY))
    talk = Talk(main)
    await talk.say(AnnounceCapabilities(True, [ABLE]))
    await talk.expect(AnnounceCapabilities)
    return talk


async def test_init_tells_whether_there_is_an_agent() -> None:
    guest = SeenGuest()
    stub = AgentStub(guest)
    async with serving(guest, sharing="share") as server, raw_client(server.port) as client:
        for opened in (False, True):
            if opened:
                stub.open()
            main = await client.link(ChannelType.MAIN, connection_id=0, channel=KNOWS)
            assert (init := await main.expect(Init)).agent_connected is opened
            assert init.agent_tokens == 10
    assert not stub.port.connected


async def test_the_agent_comes_and_goes() -> None:
    guest = SeenGuest()
    stub = AgentStub(guest)
    async with serving(guest) as server, raw_client(server.port) as client:
        main = await client.main(channel=KNOWS)
        stub.open()
        assert (await main.expect(AgentConnectedTokens)).num_tokens == 10
        await begun(main)
        stub.close()
        await main.expect(AgentDisconnected)


async def test_large_clipboards_both_ways() -> None:
    guest = SeenGuest()
    stub = AgentStub(guest)
    stub.open()
    content = bytes(range(256)) * (3 << 12)
    async with serving(guest) as server, raw_client(server.port) as client:
        talk = await begun(await client.main(channel=KNOWS))
        stub.send(ClipboardGrab(Selection.CLIPBOARD, 0, [ClipboardType.IMAGE_PNG]))
        await talk.expect(ClipboardGrab)
        await talk.say(ClipboardRequest(Selection.CLIPBOARD, ClipboardType.IMAGE_PNG))
        await until(lambda: ClipboardRequest.number in stub.types())
        stub.send(Clipboard(Selection.CLIPBOARD, ClipboardType.IMAGE_PNG, content))
        assert (await talk.expect(Clipboard)).data == content
        await talk.say(ClipboardGrab(Selection.CLIPBOARD, 1, [ClipboardType.IMAGE_PNG]))
        await until(lambda: ClipboardGrab.number in stub.types())
        stub.send(ClipboardRequest(Selection.CLIPBOARD, ClipboardType.IMAGE_PNG))
        await talk.expect(ClipboardRequest)
        await talk.say(Clipboard(Selection.CLIPBOARD, ClipboardType.IMAGE_PNG, content))
        await until(lambda: Clipboard.number in stub.types())
        assert stub.said[-1][2][8:] == content
        assert not stub.port.flooded


async def test_the_server_waits_for_tokens() -> None:
    guest = SeenGuest()
    stub = AgentStub(guest)
    stub.open()
    async with serving(guest) as server, raw_client(server.port) as client:
        main = await client.main()
        main.send(AgentStart(2))
        (viewer,) = server.viewers.values()
        await until(lambda: any(each.started for each in server.agent.listeners()))
        stub.send_raw(99, bytes(2048 * 4 - 20))
        for _ in range(2):
            await main.expect(AgentData)
        assert not viewer.channels[ChannelType.MAIN, 0].flow.queued
        main.send(ClientAgentToken(1))
        await main.expect(AgentData)


async def test_a_viewer_without_tokens_loses_its_session() -> None:
    guest = SeenGuest()
    stub = AgentStub(guest)
    stub.open()
    stub.port.pause()
    async with (
        serving(guest, sharing="share") as server,
        raw_client(server.port) as one,
        raw_client(server.port) as two,
    ):
        hostile, other = await one.main(), await two.main()
        hostile.send(AgentStart(MANY), *[ClientAgentData(raw(99, b""))] * 11)
        await hostile.ended()
        stub.port.resume()
        await begun(other)


async def test_the_pointer_by_the_agent() -> None:
    guest = SeenGuest()
    guest.absolute_pointer = False
    stub = AgentStub(guest)
    async with serving(guest) as server, raw_client(server.port) as client:
        main = await client.main()
        stub.open()
        stub.announce()
        assert (await main.expect(MouseMode)).supported_modes == MouseModes.SERVER
        assert MouseModes.CLIENT in (await main.expect(MouseMode)).supported_modes
        main.send(MouseModeRequest(MouseModes.CLIENT))
        assert (await main.expect(MouseMode)).current_mode == MouseModes.CLIENT
        inputs = await client.link(ChannelType.INPUTS)
        inputs.send(
            MousePosition(30, 20, MouseButtons(0), 0),
            MousePress(MouseButton.LEFT, MouseButtons.LEFT),
            MouseRelease(MouseButton.LEFT, MouseButtons(0)),
            MousePress(MouseButton.UP, MouseButtons(0)),
            MouseRelease(MouseButton.UP, MouseButtons(0)),
        )
        await until(lambda: len(stub.said) >= 5)
        states = stub.messages(SERVER)
        assert all(isinstance(state, MouseState) and (state.x, state.y) == (30, 20) for state in states)
        buttons = [state.buttons for state in states if isinstance(state, MouseState)]
        assert buttons == [0, MouseStateButtons.LEFT, 0, MouseStateButtons.UP, 0]
        assert not guest.seen
        stub.close()
        lost = await main.expect(MouseMode)
        assert (lost.supported_modes, lost.current_mode) == (MouseModes.SERVER, MouseModes.SERVER)


async def test_a_guest_that_never_had_an_agent() -> None:
    guest = SeenGuest()
    guest.agent = Port("com.redhat.spice.0")
    async with serving(guest) as server, raw_client(server.port) as client:
        main = await client.main()
        main.send(AgentStart(1), ClientAgentData(b"x"), ClientAgentToken(5), MouseModeRequest(MouseModes.CLIENT))
        await main.expect(MouseMode)
