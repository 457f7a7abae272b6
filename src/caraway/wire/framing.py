"""Data messages on a connection: headers, and the buffer they are cut from (spec/wire.md 5.1).

`FrameReader` is filled by the socket itself (`get_buffer`, `received`) and gives whole messages. Bodies of ordinary
size are copied out of the shared buffer, so no view of it ever leaves the reader; a large body is received straight
into a buffer of its own, which then belongs to the message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from caraway.errors import ProtocolError
from caraway.wire.fields import Buffer
from caraway.wire.limits import MAX_MESSAGE_SIZE

MINI_HEADER = struct.Struct("<HI")
FULL_HEADER = struct.Struct("<QHII")

LARGE_BODY = 64 << 10
"""Bytes from which a body gets a buffer of its own: below, one more copy costs less than the system calls."""

READ_SIZE = 256 << 10
"""Bytes asked of the socket at once: beyond it a larger buffer gains nothing."""


@dataclass(slots=True, eq=False)
class Frame:
    """One data message as it came."""

    type: int
    body: Buffer
    serial: int = 0
    """From a full header; 0 with mini headers, where both sides count."""
    sub_list: int = 0
    """Offset of sub-messages in the body (full header only); 0 for none."""


def pack_header(mini: bool, type: int, size: int, serial: int) -> bytes:
    """The header of a message with a body of `size` bytes."""
    return MINI_HEADER.pack(type, size) if mini else FULL_HEADER.pack(serial, type, size, 0)


class FrameReader:
    """Cuts a byte stream into messages. Can be left at any message: what follows stays unread.

    mini: both sides have the mini header capability.
    max_size: bytes of the largest body accepted.
    initial: what came behind the link result.
    read_size: bytes asked of the socket at once. The buffer holds twice as many and two bodies of ordinary size: the
        beginning of a message and one read may wait in it while the next read comes, so that a consumer in time never
        makes the socket pause.
    """

    def __init__(
        self, *, mini: bool, max_size: int = MAX_MESSAGE_SIZE, initial: Buffer = b"", read_size: int = READ_SIZE
    ) -> None:
        self.mini = mini
        self.max_size = max_size
        self._header = MINI_HEADER if mini else FULL_HEADER
        self._read_size = read_size
        self._large_body = min(LARGE_BODY, read_size)
        self._ample = read_size + 2 * self._large_body
        self._buffer = bytearray(max(self._ample + read_size, len(initial)))
        self._view = memoryview(self._buffer)
        self._start, self._end = 0, len(initial)
        self._view[: self._end] = initial
        self._large: Frame | None = None
        self._missing: memoryview | None = None
        """The part of the large body that is still to come."""

    def get_buffer(self) -> memoryview:
        """Where the next bytes belong: never empty while not `crowded`."""
        if self._missing:
            return self._missing
        if self._start == self._end:
            self._start = self._end = 0
        elif len(self._buffer) - self._end < self._read_size:
            rest = self._end - self._start
            self._view[:rest] = self._view[self._start : self._end]
            self._start, self._end = 0, rest
        return self._view[self._end : self._end + self._read_size]

    def received(self, count: int) -> None:
        """So many bytes have been put where `get_buffer` said."""
        if self._missing:
            self._missing = self._missing[count:]
        else:
            self._end += count

    @property
    def crowded(self) -> bool:
        """Whether messages must be taken out before more bytes are received."""
        return self._end - self._start > self._ample

    def feed(self, data: Buffer) -> Iterator[Frame]:
        """Put bytes that did not come by `get_buffer`, and take out the messages that they complete."""
        source = memoryview(data)
        while source:
            target = self.get_buffer()
            count = min(len(target), len(source))
            target[:count] = source[:count]
            self.received(count)
            source = source[count:]
            yield from self

    def next_frame(self) -> Frame | None:
        """The next message, or None until more bytes have come. Raises ProtocolError."""
        if self._large is not None:
            if self._missing:
                return None
            frame, self._large, self._missing = self._large, None, None
            return frame
        start, head = self._start, self._header.size
        available = self._end - start - head
        if available < 0:
            return None
        serial = sub_list = 0
        if self.mini:
            kind, size = MINI_HEADER.unpack_from(self._buffer, start)
        else:
            serial, kind, size, sub_list = FULL_HEADER.unpack_from(self._buffer, start)
        if size > self.max_size:
            raise ProtocolError(f"message {kind} announces {size} bytes, limit {self.max_size}")
        start += head
        if size > self._large_body:
            return self._begin_large(Frame(kind, b"", serial, sub_list), start, size)
        if available < size:
            return None
        self._start = start + size
        return Frame(kind, bytes(self._view[start : start + size]), serial, sub_list)

    def pending(self) -> tuple[bytearray, int, int]:
        """The bytes that wait, for whoever reads them there: a buffer, where they begin and end. Then say `skip`.

        They begin with a header, unless a large body is under way: then there are none.
        """
        return (self._buffer, 0, 0) if self._large is not None else (self._buffer, self._start, self._end)

    def skip(self, start: int) -> None:
        """Whole messages have been read in `pending`: the next one begins there."""
        self._start = start

    def __iter__(self) -> Iterator[Frame]:
        """The messages that are complete."""
        while (frame := self.next_frame()) is not None:
            yield frame

    def _begin_large(self, frame: Frame, start: int, size: int) -> Frame | None:
        body = memoryview(bytearray(size))
        have = min(size, self._end - start)
        body[:have] = self._view[start : start + have]
        self._start = start + have
        frame.body = body
        if have == size:
            return frame
        self._large, self._missing = frame, body[have:]
        return None
