"""One viewer's conversation with the agent: tokens both ways, and what waits (spec/messages.md 1.6)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from caraway.errors import CarawayError, DeadlineError, LinkError, ProtocolError
from caraway.server.agent_clipboard import GrabSerials
from caraway.server.agent_parts import AgentPort, ChunkRules, Part, Parts, chunks, message_bytes
from caraway.wire.constants import LinkErrorCode
from caraway.wire.fields import Buffer
from caraway.wire.limits import MAX_AGENT_CHUNK, MAX_AGENT_MESSAGE
from caraway.wire.messages.agent import AgentCapability, AgentMessage
from caraway.wire.messages.base import Message
from caraway.wire.messages.main import (
    AgentConnected,
    AgentConnectedTokens,
    AgentData,
    AgentDisconnected,
    AgentToken,
)
from caraway.wire.messages.migrate_data import BLOB_VERSION, NO_TOKENS, CharDevice, FilterResult, MainMigrateData

if TYPE_CHECKING:
    from caraway.server.agent import Agent

USUAL = 1 << AgentCapability.CLIPBOARD_BY_DEMAND | 1 << AgentCapability.CLIPBOARD_SELECTION
"""What agents and clients can, as long as they have not said."""

AGENT_TOKENS = 10
"""Messages that a client may send before it gets tokens back: what the deployed server gives."""

TOKEN_BATCH = 5
"""Tokens that are given back at once."""

FLOODED = 256 << 10
"""Bytes waiting for one viewer at which the guest is asked to stop; at half of them it may go on."""

MAX_WAITING = 32 << 20
"""Bytes that may wait for a viewer if the guest does not stop: it has then written a whole clipboard at once."""

MAX_LATER = 256
"""Messages of the server's own that may wait until the client has heard one of the agent's."""

PATIENCE = 30.0
"""Seconds that a viewer may keep the agent waiting: as the deployed server."""

ENOUGH = 16 << 10
"""Bytes that a viewer has to take or give in that time, unless there are fewer: others wait for it."""


class AgentClient:
    """A viewer's side of the agent: `agent.join(client)` when the main channel starts.

    send: sends a message on the main channel; raises LinkError if that is not possible.
    room: whether what is sent leaves at once.
    connected_tokens: whether the client knows AGENT_CONNECTED_TOKENS.
    view_only: nothing that it says reaches the agent.
    """

    def __init__(
        self,
        agent: Agent,
        send: Callable[[Message], None],
        *,
        room: Callable[[], bool],
        connected_tokens: bool = True,
        view_only: bool = False,
    ) -> None:
        self.agent, self.view_only = agent, view_only
        self.started = False
        """Whether the client has sent AGENT_START since the agent came."""
        self.capabilities = 0
        """What the client has announced, as a bit mask."""
        self.told = 0
        """Capabilities of the agent that the client was told."""
        self.asks = False
        """Whether the client waits for the agent's capabilities."""
        self.serials = GrabSerials()
        self.queue: deque[bytes] = deque()
        """AGENT_DATA for the agent, at most as many as there are tokens."""
        self._send, self._room, self._connected_tokens = send, room, connected_tokens
        self._tokens = AGENT_TOKENS
        self._returned = 0
        self._rules = ChunkRules()
        self._parts = Parts()
        self._granted = 0
        self._outbox: deque[bytes] = deque()
        self._waiting = 0
        self._missing = 0
        self._later: list[bytes] = []
        self._error: CarawayError | None = None
        self._passed = 0
        self._owing = asyncio.Event()
        self._progress = asyncio.Event()

    @property
    def agreed(self) -> int:
        """Capabilities that layouts of this conversation depend on."""
        return self.capabilities & self.told

    @property
    def flooded(self) -> bool:
        """Whether the guest should stop for this viewer's sake."""
        return self._waiting > (FLOODED // 2 if self.agent.flooded else FLOODED)

    # what the main channel says

    def start(self, num_tokens: int) -> None:
        """AGENT_START came."""
        if self.agent.connected:
            first, self.started = not self.started, True
            self._granted = num_tokens
            if first:
                self.agent.started(self)
            self.pump()

    def data(self, body: bytes) -> None:
        """AGENT_DATA came. Raises ProtocolError if it breaks the rules."""
        if self._error is not None:
            raise self._error
        if not self.started:
            return
        if not self._tokens:
            raise ProtocolError("AGENT_DATA without a token")
        self._tokens -= 1
        self._rules.check(body)
        self.queue.append(body)
        if not self._outbox:
            self._pass(len(body))
        self.agent.pump()
        if self._error is not None:
            raise self._error

    def add_tokens(self, num_tokens: int) -> None:
        """AGENT_TOKEN came."""
        self._granted += num_tokens
        self.pump()

    def pump(self) -> None:
        """Send what can be sent now: there is room, or there are tokens."""
        while self._outbox and self._granted and self._error is None and self._room():
            body = self._outbox.popleft()
            self._waiting -= len(body)
            self._granted -= 1
            self._pass(len(body))
            self._try(AgentData(body))
        self.look()
        self.agent.relieve()

    async def watch(self) -> None:
        """Run as long as the main channel. Raises what shall end it, such as a viewer that keeps the agent waiting."""
        while self._error is None:
            await self._owing.wait()
            self._progress.clear()
            self._passed = 0
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._progress.wait()
            except TimeoutError:
                raise DeadlineError(f"the agent has waited for the client for {PATIENCE:g} s") from None
        raise self._error

    def close(self) -> None:
        """The main channel has ended."""
        self.agent.leave(self)

    # migration

    def hand_over(self) -> MainMigrateData:
        """Where this conversation is, for the target.

        In the middle of a message of the agent's it ends: not every place there can be told (spec/migration.md 10.2).
        """
        goes_on = self.started and self.agent.between_messages and not self._outbox and not self._missing
        if not goes_on:
            return _handed_over(_NOBODY)
        written = b"".join(chunk for body in self.queue for chunk in chunks(AgentPort.CLIENT, body))
        granted = min(self._granted, NO_TOKENS - 1)
        device = CharDevice(BLOB_VERSION, True, self._tokens, granted, len(self.queue), written)
        return _handed_over(device, started=True, to_agent_remaining=self._rules.left)

    def take_over(self, state: MainMigrateData) -> None:
        """Go on where the source was. Raises ProtocolError if that cannot be."""
        device = state.agent
        if not device.connected:
            if self.agent.connected:
                self.connected()
            return
        self._tokens = device.num_client_tokens
        self._returned = AGENT_TOKENS - device.num_client_tokens - device.write_num_client_tokens
        if self._returned < 0:
            raise ProtocolError("MIGRATE_DATA: more tokens for the agent than there are")
        self._returned += device.write_num_client_tokens
        if state.to_agent_remaining > MAX_AGENT_MESSAGE:
            raise ProtocolError(f"MIGRATE_DATA: {state.to_agent_remaining} bytes of a message to the agent")
        if not self.agent.connected:
            self.disconnected()
            return
        self.started, self._granted = state.client_agent_started, device.num_send_tokens
        self.capabilities = self.told = USUAL
        self._rules.left = state.to_agent_remaining
        self._parts.resume(b"", state.to_agent_remaining)
        if self._returned >= TOKEN_BATCH:
            self._give_back()
        self.agent.take_over(self, state)

    def resume_hearing(self, left: int) -> None:
        """The client is in the middle of a message of the agent's, of which so many bytes are to come."""
        self._missing = left

    # what the agent says

    def connected(self) -> None:
        """The agent has come."""
        if self._connected_tokens:
            self._tokens, self._returned = AGENT_TOKENS, 0
            self._try(AgentConnectedTokens(AGENT_TOKENS))
        else:
            self._try(AgentConnected())
            self._give_back()

    def disconnected(self) -> None:
        """The agent has gone: forget everything."""
        self._returned += len(self.queue)
        self.queue.clear()
        self._outbox.clear()
        self._later.clear()
        self._waiting = self._missing = self._granted = 0
        self.started, self.asks = False, False
        self.capabilities = self.told = 0
        self.serials = GrabSerials()
        self._rules.reset()
        self._parts.reset()
        self._try(AgentDisconnected(LinkErrorCode.OK))
        self.look()

    def next_parts(self) -> Iterator[Part]:
        """What the oldest waiting AGENT_DATA holds; its token goes back."""
        body = self.queue.popleft()
        self._returned += 1
        if self._returned >= TOKEN_BATCH:
            self._give_back()
        yield from self._parts.feed(body)

    def say(self, message: AgentMessage) -> None:
        """Tell the client something, after the message that it is being told."""
        data = message_bytes(message.number, message.pack(self.agreed))
        if self._missing:
            self._later.append(data)
            if len(self._later) > MAX_LATER:
                self.fail(LinkError(f"the client asks on and on while the agent speaks; {MAX_LATER} answers wait"))
        else:
            self._put(data)
        self.pump()

    def begin(self, type: int, size: int, data: Buffer) -> None:
        """Tell the client the first bytes of a message of `size` bytes."""
        self._missing = size - len(data)
        self._put(message_bytes(type, data, size))
        self._continued()

    def go_on(self, data: Buffer) -> None:
        """Tell the client more of that message."""
        self._missing -= len(data)
        self._put(data)
        self._continued()

    def fail(self, error: CarawayError) -> None:
        """End the main channel: `watch` raises this."""
        if self._error is None:
            self._error = error
            self.queue.clear()
            self._outbox.clear()
            self._later.clear()
            self._waiting = 0
            self._owing.set()
            self._progress.set()

    def look(self) -> None:
        """See whether the agent waits for the client now."""
        if self._outbox or self._error is not None or self.agent.waits_for(self):
            self._owing.set()
        else:
            self._owing.clear()
            self._progress.set()

    def _continued(self) -> None:
        if not self._missing:
            for data in self._later:
                self._put(data)
            self._later.clear()
        self.pump()

    def _pass(self, size: int) -> None:
        self._passed += size
        if self._passed >= ENOUGH:
            self._progress.set()

    def _put(self, data: Buffer) -> None:
        if self._error is not None:
            return
        for at in range(0, len(data), MAX_AGENT_CHUNK):
            self._outbox.append(bytes(data[at : at + MAX_AGENT_CHUNK]))
        self._waiting += len(data)
        if self._waiting > MAX_WAITING:
            self.fail(LinkError(f"the client does not listen to the agent; {self._waiting} bytes wait"))

    def _give_back(self) -> None:
        if self._returned:
            self._tokens += self._returned
            self._try(AgentToken(self._returned))
            self._returned = 0

    def _try(self, message: Message) -> None:
        try:
            self._send(message)
        except LinkError as error:
            self.fail(error)


_NOBODY = CharDevice(BLOB_VERSION, False, 0, 0, 0, b"")


def _handed_over(device: CharDevice, *, started: bool = False, to_agent_remaining: int = 0) -> MainMigrateData:
    """A main channel's state, the agent between two messages."""
    forward = FilterResult.FORWARD
    return MainMigrateData(BLOB_VERSION, device, started, 0, 0, 0, False, b"", 0, forward, to_agent_remaining, forward)
