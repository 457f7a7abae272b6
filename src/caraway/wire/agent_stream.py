"""Agent messages in the AGENT_DATA bodies of the main channel (spec/messages.md 10.1).

The bodies of one direction are a byte stream of messages. `AgentStream` puts the messages of a stream together;
`agent_bodies` takes one message apart as the deployed server demands it.
"""

from __future__ import annotations

from collections.abc import Iterator

from caraway.errors import ProtocolError
from caraway.wire.fields import Buffer
from caraway.wire.limits import MAX_AGENT_CHUNK, MAX_AGENT_MESSAGE
from caraway.wire.messages.agent import AGENT_HEADER_SIZE, AGENT_PROTOCOL, AgentHeader, AgentMessage


class AgentStream:
    """Messages out of a stream that may be cut anywhere.

    max_size: bytes of the largest message accepted, without its header.
    """

    def __init__(self, max_size: int = MAX_AGENT_MESSAGE) -> None:
        self.max_size = max_size
        self._buffer = bytearray()
        self._header: AgentHeader | None = None

    def feed(self, body: Buffer) -> list[tuple[int, bytes]]:
        """Take the body of one AGENT_DATA; gives type and data of each message that it completes.

        Raises ProtocolError as soon as a header names another protocol or too large a size.
        """
        self._buffer += body
        found = []
        while (header := self._next_header()) is not None and len(self._buffer) >= header.size:
            found.append((header.type, bytes(memoryview(self._buffer)[: header.size])))
            del self._buffer[: header.size]
            self._header = None
        return found

    @property
    def pending(self) -> bytes:
        """The unfinished message, as far as it has come: fed to another stream, that goes on from here."""
        return (self._header.pack() if self._header else b"") + bytes(self._buffer)

    def reset(self) -> None:
        """The agent is gone: forget the unfinished message."""
        self._buffer.clear()
        self._header = None

    def _next_header(self) -> AgentHeader | None:
        if self._header is None and len(self._buffer) >= AGENT_HEADER_SIZE:
            header = AgentHeader.unpack(self._buffer)
            if header.protocol != AGENT_PROTOCOL:
                raise ProtocolError(f"agent: protocol {header.protocol}, only {AGENT_PROTOCOL} is known")
            if header.size > self.max_size:
                raise ProtocolError(f"agent: message {header.type} of {header.size} bytes, limit {self.max_size}")
            del self._buffer[:AGENT_HEADER_SIZE]
            self._header = header
        return self._header


def agent_bodies(message: AgentMessage, agreed: int = 0) -> Iterator[bytes]:
    """The AGENT_DATA bodies of one message: at most 2048 bytes each, none shared with another message.

    agreed: capabilities that both ends announced, as a bit mask.
    """
    data = message.pack(agreed)
    header = AgentHeader(AGENT_PROTOCOL, message.number, 0, len(data)).pack()
    first = MAX_AGENT_CHUNK - AGENT_HEADER_SIZE
    yield header + data[:first]
    for at in range(first, len(data), MAX_AGENT_CHUNK):
        yield data[at : at + MAX_AGENT_CHUNK]
