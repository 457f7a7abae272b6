"""Captures made up for tests."""

import gzip
import json
import lzma
import struct
from pathlib import Path

from caraway.wire.capabilities import Capabilities, CommonCapability
from caraway.wire.constants import ChannelType, LinkErrorCode
from caraway.wire.messages.link import LinkMessage, LinkReply, pack_link

CLIENT_BYTES, SERVER_BYTES, OPENED, CLIENT_ENDED = 0, 1, 2, 3
TICKET, OK = bytes(128), bytes(4)
MINI = Capabilities([CommonCapability.AUTH_SELECTION, CommonCapability.AUTH_SPICE, CommonCapability.MINI_HEADER])
FULL = Capabilities([CommonCapability.AUTH_SPICE])

Record = tuple[int, int, int, bytes]
"""Connection, kind, microseconds, payload."""


def link(common: Capabilities, kind: int = ChannelType.DISPLAY, connection: int = 0, *, id: int = 2) -> list[Record]:
    """A connection's link stage: session 5."""
    mechanism = b"\1\0\0\0" if CommonCapability.AUTH_SELECTION in common else b""
    request = pack_link(LinkMessage(5, kind, id, 0, 0, 0), common, Capabilities([1, 33]))
    reply = pack_link(LinkReply(LinkErrorCode.OK, bytes(162), 0, 0, 0), common, Capabilities([6]))
    return [
        (connection, OPENED, 0, b""),
        (connection, CLIENT_BYTES, 10, request),
        (connection, SERVER_BYTES, 20, reply),
        (connection, CLIENT_BYTES, 30, mechanism + TICKET),
        (connection, SERVER_BYTES, 40, OK),
    ]


def mini(number: int, body: bytes = b"") -> bytes:
    """A message with a mini header."""
    return struct.pack("<HI", number, len(body)) + body


def pack(records: list[Record], header: object = None) -> bytes:
    """A capture's bytes."""
    head = {"format": "spice-capture", "version": 1, "started": 1.5, "note": "x"} if header is None else header
    packed = (struct.pack("<IBQI", *record[:3], len(record[3])) + record[3] for record in records)
    return json.dumps(head).encode() + b"\n" + b"".join(packed)


def write(folder: Path, data: bytes, suffix: str = ".cap") -> Path:
    """A capture file, compressed as its suffix says."""
    path = folder / f"session{suffix}"
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    with opener(path, "wb") as file:
        file.write(data)
    return path
