"""Sub-messages: messages inside the body of another, processed before it (spec/wire.md 5.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from caraway.wire.fields import U16, U32, Buffer, Counted, LayoutError, Struct, struct


@struct
class _Offsets(Struct):
    """Where the sub-messages begin."""

    offsets: Annotated[list[U32], Counted(U16)]


@struct
class SubHeader(Struct):
    """What stands before a sub-message's data."""

    type: U16
    size: U32
    """Wrong from the deployed server: it can be too large, and even run past the end of the body."""


SUB_HEADER_SIZE = 6


def unpack_sub_list(body: Buffer, offset: int = 0) -> Iterator[tuple[int, Buffer]]:
    """Type and data of each sub-message, in order; each lies behind the one before.

    The data runs to the end of the body whatever size is declared: parse by content, ignore what follows it.
    Raises LayoutError.
    """
    if offset > len(body):
        raise LayoutError(offset, "the sub-list lies behind the end")
    view = memoryview(body)
    last = -1
    for at in _Offsets.unpack(view[offset:]).offsets:
        if not last < at <= len(body) - SUB_HEADER_SIZE:
            raise LayoutError(offset, f"a sub-message lies at byte {at} of {len(body)}, behind one at {last}")
        last = at
        yield SubHeader.unpack(view[at : at + SUB_HEADER_SIZE]).type, view[at + SUB_HEADER_SIZE :]


def pack_sub_list(messages: list[tuple[int, bytes]], base: int = 0) -> bytes:
    """A sub-list, for a LIST message or for the end of a body whose own data takes `base` bytes."""
    at = base + len(_Offsets([0] * len(messages)).pack())
    offsets, packed = [], []
    for type, data in messages:
        offsets.append(at)
        packed += [SubHeader(type, len(data)).pack(), data]
        at += SUB_HEADER_SIZE + len(data)
    return _Offsets(offsets).pack() + b"".join(packed)
