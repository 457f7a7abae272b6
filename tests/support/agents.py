"""The guest's agent of a test, at the far end of its port; and viewers that talk to it, without sockets."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, TypeVar

from caraway.server import Display, Guest, Port
from caraway.server.agent import Agent
from caraway.server.agent_client import AGENT_TOKENS, AgentClient
from caraway.server.guest import Monitor
from caraway.wire.agent_stream import AgentStream, agent_bodies
from caraway.wire.messages.agent import (
    AGENT_PROTOCOL,
    AgentCapability,
    AgentHeader,
    AgentMessage,
    AnnounceCapabilities,
    unpack_agent,
)
from caraway.wire.messages.base import Message
from caraway.wire.messages.main import (
    AgentConnectedTokens,
    AgentData,
    AgentDisconnected,
    AgentToken,
)

CLIENT, SERVER = 1, 2
LAYOUTS = 1 << AgentCapability.CLIPBOARD_SELECTION | 1 << AgentCapability.CLIPBOARD_GRAB_SERIAL
ABLE = (
    LAYOUTS
    | 1 << AgentCapability.MOUSE_STATE
    | 1 << AgentCapability.MONITORS_CONFIG
    | 1 << AgentCapability.CLIPBOARD_BY_DEMAND
    | 1 << AgentCapability.FILE_XFER_DETAILED_ERRORS
)


class AgentStub:
    """Reads what the server writes to a guest's agent port, keeps it, and answers capabilities."""

    def __init__(self, guest: Guest, capabilities: int = ABLE) -> None:
        self.port = guest.agent = Port("com.redhat.spice.0")
        self.capabilities = capabilities
        self.client_capabilities = 0
        self.answers = True
        self.said: list[tuple[int, int, bytes]] = []
        """Port, type and data of each message, in order."""
        self.chunk_sizes: list[int] = []
        self._buffer = bytearray()
        self._streams = {CLIENT: AgentStream(), SERVER: AgentStream()}
        self.port.received.connect(self._received)

    @property
    def agreed(self) -> int:
        return self.capabilities & self.client_capabilities

    def open(self) -> None:
        self.port.open()

    def close(self) -> None:
        self.port.close()
        self._buffer.clear()
        self.client_capabilities = 0
        for stream in self._streams.values():
            stream.reset()

    def send(self, message: AgentMessage, port: int = CLIENT) -> None:
        self.send_raw(message.number, message.pack(self.agreed), port)

    def send_raw(self, type: int, data: bytes, port: int = CLIENT) -> None:
        """One chunk for the whole message, as the agent of Linux guests does."""
        body = AgentHeader(AGENT_PROTOCOL, type, 0, len(data)).pack() + data
        self.port.write(struct.pack("<II", port, len(body)) + body)

    def announce(self, request: bool = True) -> None:
        self.send(AnnounceCapabilities(request, [self.capabilities]))

    def messages(self, port: int = CLIENT) -> list[AgentMessage]:
        """What came and has not been taken, but capabilities."""
        taken, self.said = self.said, []
        found = [unpack_agent(type, data, self.agreed) for from_port, type, data in taken if from_port == port]
        return [message for message in found if message is not None and not isinstance(message, AnnounceCapabilities)]

    def types(self) -> Sequence[int]:
        return [type for _, type, _ in self.said]

    def _received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 8:
            port, size = struct.unpack_from("<II", self._buffer)
            if len(self._buffer) < 8 + size:
                return
            body = bytes(self._buffer[8 : 8 + size])
            del self._buffer[: 8 + size]
            self.chunk_sizes.append(size)
            for type, message in self._streams[port].feed(body):
                self._take(port, type, message)

    def _take(self, port: int, type: int, data: bytes) -> None:
        self.said.append((port, type, data))
        if type == AnnounceCapabilities.number:
            announced = AnnounceCapabilities.unpack(data)
            self.client_capabilities = announced.capabilities[0]
            if announced.request and self.answers:
                self.announce(request=False)


M = TypeVar("M")
MANY = 0xFFFFFFFF


class FittedGuest(Guest):
    """A guest that may fit itself."""

    def __init__(self, *displays: Display) -> None:
        super().__init__(*displays)
        self.takes = True
        self.fitted: list[Sequence[Monitor]] = []

    def fit(self, monitors: Sequence[Monitor]) -> bool:
        self.fitted.append(monitors)
        return self.takes


class AgentViewer:
    """A client at the far end of a main channel."""

    def __init__(self, agent: Agent, capabilities: int = ABLE, **options: Any) -> None:
        self.sent: list[Message] = []
        self.room = True
        self.capabilities = capabilities
        self.agent_capabilities = 0
        self.tokens = AGENT_TOKENS
        self.stream = AgentStream()
        self.heard: list[AgentMessage] = []
        self.body_sizes: list[int] = []
        self.client = AgentClient(agent, self._send, room=lambda: self.room, **options)
        agent.join(self.client)

    @property
    def agreed(self) -> int:
        return self.capabilities & self.agent_capabilities

    def _send(self, message: Message) -> None:
        self.sent.append(message)
        match message:
            case AgentToken():
                self.tokens += message.num_tokens
            case AgentConnectedTokens():
                self.tokens = message.num_tokens
            case AgentDisconnected():
                self.stream.reset()
                self.agent_capabilities = 0
            case AgentData():
                self.body_sizes.append(len(message.data))
                for type, data in self.stream.feed(message.data):
                    self._hear(type, data)

    def _hear(self, type: int, data: bytes) -> None:
        message = unpack_agent(type, data, self.agreed)
        if isinstance(message, AnnounceCapabilities):
            self.agent_capabilities = message.capabilities[0]
        if message is not None:
            self.heard.append(message)

    def start(self, tokens: int = MANY) -> AgentViewer:
        self.client.start(tokens)
        self.say(AnnounceCapabilities(True, [self.capabilities]))
        return self

    def say(self, message: AgentMessage) -> None:
        for body in agent_bodies(message, self.agreed):
            self.give(body)

    def give(self, body: bytes) -> None:
        self.tokens -= 1
        self.client.data(body)

    def take(self, kind: type[M]) -> list[M]:
        """What was heard of that kind and has not been taken; the rest is forgotten."""
        heard, self.heard = self.heard, []
        return [message for message in heard if isinstance(message, kind)]


class World:
    def __init__(self, guest: Guest | None = None, capabilities: int = ABLE, **options: Any) -> None:
        self.guest = guest if guest is not None else Guest()
        self.stub = AgentStub(self.guest, capabilities)
        self.agent = Agent(self.guest, **options)
        self.agent.attach()
        self.stub.open()

    def viewer(self, capabilities: int = ABLE, **options: Any) -> AgentViewer:
        viewer = AgentViewer(self.agent, capabilities, **options).start()
        self.stub.said.clear()
        viewer.heard.clear()
        return viewer


def raw(type: int, data: bytes, size: int | None = None) -> bytes:
    return AgentHeader(AGENT_PROTOCOL, type, 0, len(data) if size is None else size).pack() + data


def data(message: AgentMessage) -> bytes:
    return message.pack(LAYOUTS)


def same(one: Sequence[AgentMessage], other: Sequence[AgentMessage]) -> bool:
    return [(type(m), data(m)) for m in one] == [(type(m), data(m)) for m in other]
