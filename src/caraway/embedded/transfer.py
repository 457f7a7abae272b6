"""The bytes of an embedded guest on its way: pages of memory, then its devices, then word that it is to run.

    source                                            target
    CARAWAYM, u32 version, u32 pages of memory  ->
    PAGES, u32 n, n x (u32 number, page)        ->    any number of times
    DEVICES, u32 size, size bytes               ->    loads
                                                <-    LOADED
    RUN, u32 1 or 0 (to run, or to stay paused) ->    runs

A record is a byte that says its kind, a u32, and what that counts. The source gives the guest up when LOADED has come;
the target runs it when RUN has: it never runs at both.
"""

from __future__ import annotations

import asyncio
import enum
import struct
from collections.abc import Sequence

from caraway.embedded.memory import PAGE, Memory
from caraway.errors import LinkError, ProtocolError

MAGIC = b"CARAWAYM"
VERSION = 1

MAX_PAGES = 64
"""Of one record."""

MAX_DEVICES = 16 << 20
"""Bytes of the devices' state."""

LOADED = b"\x06"

_GREETING = struct.Struct("<8sII")
_RECORD = struct.Struct("<BI")
_NUMBER = struct.Struct("<I")


class Kind(enum.IntEnum):
    """Of a record."""

    PAGES = 1
    DEVICES = 2
    RUN = 3


class Link:
    """A source's connection. answer: the first that the target says, or nothing at its end."""

    def __init__(self, writer: asyncio.StreamWriter, answer: asyncio.Future[bytes]) -> None:
        self.answer = answer
        self._writer = writer

    def check(self) -> None:
        """Raise LinkError if the target has spoken, or left."""
        if self.answer.done():
            raise LinkError("the target does not take the guest; its own log says why")

    async def send(self, data: bytes, deadline: float) -> None:
        """Send; the target has so many seconds to take what waits. Raises as `check`, and TimeoutError."""
        self.check()
        self._writer.write(data)
        async with asyncio.timeout(deadline):
            await self._writer.drain()


def greeting(memory: Memory) -> bytes:
    """What a source says first."""
    return _GREETING.pack(MAGIC, VERSION, memory.pages)


def pages(memory: Memory, numbers: Sequence[int]) -> bytes:
    """At most MAX_PAGES pages, as they are now."""
    parts = [_RECORD.pack(Kind.PAGES, len(numbers))]
    for number in numbers:
        parts += [_NUMBER.pack(number), bytes(memory.page(number))]
    return b"".join(parts)


def devices(state: bytes) -> bytes:
    """The state of all that is not memory."""
    return _RECORD.pack(Kind.DEVICES, len(state)) + state


def run(running: bool) -> bytes:
    """The guest is the target's."""
    return _RECORD.pack(Kind.RUN, running)


async def read_greeting(reader: asyncio.StreamReader, memory: Memory) -> None:
    """Take what a source says first. Raises ProtocolError, IncompleteReadError."""
    magic, version, count = _GREETING.unpack(await reader.readexactly(_GREETING.size))
    if magic != MAGIC or version != VERSION:
        raise ProtocolError(f"no guest of this version: {magic!r}, version {version}")
    if count != memory.pages:
        raise ProtocolError(f"a guest with {count} pages of memory, here are {memory.pages}")


async def read_record(reader: asyncio.StreamReader, memory: Memory) -> tuple[Kind, bytes | bool]:
    """Take a record: pages into the memory; gives a state's bytes, or whether to run. Raises as `read_greeting`."""
    number, count = _RECORD.unpack(await reader.readexactly(_RECORD.size))
    if number == Kind.PAGES and count <= MAX_PAGES:
        data = memoryview(await reader.readexactly(count * (_NUMBER.size + PAGE)))
        for at in range(0, len(data), _NUMBER.size + PAGE):
            (page,) = _NUMBER.unpack_from(data, at)
            if page >= memory.pages:
                raise ProtocolError(f"page {page} of {memory.pages}")
            memory.page(page)[:] = data[at + _NUMBER.size : at + _NUMBER.size + PAGE]
        return Kind.PAGES, b""
    if number == Kind.DEVICES and count <= MAX_DEVICES:
        return Kind.DEVICES, await reader.readexactly(count)
    if number == Kind.RUN and count <= 1:
        return Kind.RUN, bool(count)
    raise ProtocolError(f"record {number} of {count}")
