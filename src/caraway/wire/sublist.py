"""Sub-messages: messages inside the body of another, processed before it (spec/wire.md 5.2)."""

from __future__ import annotations

from typing import Annotated

from caraway.wire.fields import U16, U32, Buffer, Counted, LayoutError, Struct, struct


@struct
class _Offsets(Struct):
    offsets: Annotated[list[U32], Counted(U16)]


@struct
class SubHeader(Struct):
    """What stands before a sub-message's data."""

    type: U16
    size: U32
    """Wrong from the deployed server: it can be too large, and even run past the end of the body."""


SUB_HEADER_SIZE = 6


def unpack_sub_list(body: Buffer, offset: int = 0) -> list[tuple[int, Buffer]]:
    """Type and data of each sub-message, in order.

    The data runs to the end of the body whatever size is declared: parse by content, ignore what follows it.
    Raises LayoutError.
    """
    if offset > len(body):
        raise LayoutError(offset, "the sub-list lies behind the end")
    found: list[tuple[int, Buffer]] = []
    for at in _Offsets.unpack(body[offset:]).offsets:
        if at > len(body):
            raise LayoutError(offset, f"a sub-message lies at byte {at} of {len(body)}")
        found.append((SubHeader.unpack(body[at:]).type, body[at + SUB_HEADER_SIZE :]))
    return found


def pack_sub_list(messages: list[tuple[int, bytes]], base: int = 0) -> bytes:
    """A sub-list, for a LIST message or for the end of a body whose own data takes `base` bytes."""
    at = base + len(_Offsets([0] * len(messages)).pack())
    offsets, packed = [], []
    for type, data in messages:
        offsets.append(at)
        packed += [SubHeader(type, len(data)).pack(), data]
        at += SUB_HEADER_SIZE + len(data)
    return _Offsets(offsets).pack() + b"".join(packed)
