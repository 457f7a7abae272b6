"""The agent's streams while they flow: chunks of the guest's port, and messages in parts (spec/messages.md 10.1).

Clipboards and files are too long to be held, so a message passes in parts as it comes. What the server has to look
into comes together: short messages whole, long ones with their first fields.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from typing import NamedTuple

from caraway.errors import ProtocolError
from caraway.wire.fields import Buffer
from caraway.wire.limits import MAX_AGENT_CHUNK, MAX_AGENT_MESSAGE
from caraway.wire.messages.agent import (
    AGENT_HEADER_SIZE,
    AGENT_PROTOCOL,
    AgentHeader,
    AnnounceCapabilities,
    Clipboard,
    ClipboardGrab,
    ClipboardRelease,
    ClipboardRequest,
    FileXferData,
    FileXferStart,
    FileXferStatus,
    MonitorsConfig,
)

WHOLE = frozenset(
    message.number
    for message in (
        MonitorsConfig,
        AnnounceCapabilities,
        ClipboardGrab,
        ClipboardRequest,
        ClipboardRelease,
        FileXferStatus,
    )
)
"""Types whose messages come in one part."""

MAX_WHOLE = 8192
"""Bytes of a message that comes whole: 256 monitors with their sizes are 6152."""

HEADS = {Clipboard.number: 8, FileXferStart.number: 4, FileXferData.number: 4}
"""Bytes that the first part has at least, unless the message is shorter."""

_CHUNK = struct.Struct("<II")


class AgentPort(enum.IntEnum):
    """Who speaks with the agent: in the header of each chunk."""

    CLIENT = 1
    SERVER = 2


class Part(NamedTuple):
    """A piece of one message, without the message's header."""

    type: int
    size: int
    """Bytes of the whole message's data."""
    data: bytes
    first: bool
    last: bool


class Parts:
    """Messages out of a stream that may be cut anywhere."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: AgentHeader | None = None
        self._first = True
        self._left = 0

    def feed(self, data: Buffer) -> Iterator[Part]:
        """Take more of the stream, give what can be passed on.

        Raises ProtocolError for a header of another protocol, or with too large a size.
        """
        self._buffer += data
        while (header := self._next_header()) is not None:
            have = min(len(self._buffer), self._left)
            if have < (min(_together(header), self._left) if self._first else min(1, self._left)):
                return
            part = Part(header.type, header.size, bytes(self._buffer[:have]), self._first, have == self._left)
            del self._buffer[:have]
            self._left -= have
            self._first = part.last
            if part.last:
                self._header = None
            yield part

    def reset(self) -> None:
        """The stream begins anew."""
        self._buffer.clear()
        self._header, self._first, self._left = None, True, 0

    @property
    def between_messages(self) -> bool:
        """Whether nothing of a message has come that is not whole."""
        return self._header is None and not self._buffer

    def resume(self, begun: bytes, left: int) -> None:
        """Go on where another server was.

        begun: of a message's header; left: bytes of a message, whose type is lost. Raises ProtocolError.
        """
        if len(begun) >= AGENT_HEADER_SIZE or left > MAX_AGENT_MESSAGE:
            raise ProtocolError(f"MIGRATE_DATA: {len(begun)} bytes of a header, {left} of an agent's message")
        self.reset()
        self._buffer += begun
        if left:
            self._header, self._first, self._left = AgentHeader(AGENT_PROTOCOL, 0, 0, left), False, left

    def _next_header(self) -> AgentHeader | None:
        if self._header is None and len(self._buffer) >= AGENT_HEADER_SIZE:
            self._header = read_header(self._buffer)
            self._left = self._header.size
            del self._buffer[:AGENT_HEADER_SIZE]
        return self._header


def read_header(data: Buffer) -> AgentHeader:
    """The header at the start of `data`. Raises ProtocolError."""
    header = AgentHeader.unpack(data)
    if header.protocol != AGENT_PROTOCOL:
        raise ProtocolError(f"agent: protocol {header.protocol}, only {AGENT_PROTOCOL} is known")
    limit = MAX_WHOLE if header.type in WHOLE else MAX_AGENT_MESSAGE
    if header.size > limit:
        raise ProtocolError(f"agent: message {header.type} of {header.size} bytes, limit {limit}")
    return header


def _together(header: AgentHeader) -> int:
    return header.size if header.type in WHOLE else HEADS.get(header.type, 0)


class Chunks:
    """Chunks out of the bytes of the guest's port, each a piece of the stream of one AgentPort."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._port = AgentPort.CLIENT
        self._left = 0

    def feed(self, data: Buffer) -> Iterator[tuple[AgentPort, memoryview]]:
        """Take bytes from the guest, give pieces of chunks. Raises ProtocolError for an unknown port.

        Sizes of chunks have no limit: the agent of Linux guests puts a whole message into one.
        """
        view = memoryview(data)
        while len(view):
            if not self._left:
                missing = _CHUNK.size - len(self._head)
                self._head += view[:missing]
                view = view[missing:]
                if len(self._head) == _CHUNK.size:
                    self._begin()
                continue
            piece, view = view[: self._left], view[self._left :]
            self._left -= len(piece)
            yield self._port, piece

    def reset(self) -> None:
        """The stream begins anew."""
        self._head.clear()
        self._left = 0

    @property
    def between_chunks(self) -> bool:
        """Whether nothing of a chunk has come that is not whole."""
        return not self._head and not self._left

    def resume(self, head_size: int, port: int, left: int) -> None:
        """Go on where another server was.

        head_size: bytes of a chunk's head that it had; left: bytes of the chunk after its head. Raises ProtocolError.
        """
        if head_size > _CHUNK.size:
            raise ProtocolError(f"MIGRATE_DATA: {head_size} bytes of a chunk's head")
        self.reset()
        self._head += _CHUNK.pack(port, left)[:head_size]
        if head_size == _CHUNK.size:
            self._begin()

    def _begin(self) -> None:
        number, self._left = _CHUNK.unpack(self._head)
        self._head.clear()
        try:
            self._port = AgentPort(number)
        except ValueError:
            raise ProtocolError(f"agent: chunk of {self._left} bytes for port {number}") from None


class ChunkRules:
    """What a client's AGENT_DATA bodies have to keep to."""

    def __init__(self) -> None:
        self.left = 0
        """Bytes that are still to come of the message under way."""

    def check(self, body: Buffer) -> None:
        """Raise ProtocolError unless `body` holds a message's header and no other's data, or goes on with one."""
        if not 0 < len(body) <= MAX_AGENT_CHUNK:
            raise ProtocolError(f"agent: body of {len(body)} bytes, limit {MAX_AGENT_CHUNK}")
        size = len(body)
        if not self.left:
            if size < AGENT_HEADER_SIZE:
                raise ProtocolError(f"agent: {size} bytes, a header needs {AGENT_HEADER_SIZE}")
            self.left = read_header(body).size
            size -= AGENT_HEADER_SIZE
        if size > self.left:
            raise ProtocolError(f"agent: body goes {size - self.left} bytes beyond its message")
        self.left -= size

    def reset(self) -> None:
        """The stream begins anew."""
        self.left = 0


def chunks(port: AgentPort, data: Buffer) -> Iterator[bytes]:
    """Bytes for the guest's port: `data` in chunks of at most 2048 bytes, all that some agents take."""
    for at in range(0, len(data), MAX_AGENT_CHUNK):
        piece = bytes(data[at : at + MAX_AGENT_CHUNK])
        yield _CHUNK.pack(port, len(piece)) + piece


def message_bytes(type: int, data: Buffer, size: int | None = None) -> bytes:
    """A message with its header; or the begin of one, of `size` bytes."""
    return AgentHeader(AGENT_PROTOCOL, type, 0, len(data) if size is None else size).pack() + data
