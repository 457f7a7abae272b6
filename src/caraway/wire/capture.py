"""Recorded sessions: every byte of every connection, with times (format: tools/README.md of the shared material).

A capture is a line of JSON and records of what one read gave, all of it perhaps compressed. `load` goes through the
file once for the connections and their link stages; messages are read again from the file whenever they are asked for,
so the size of a capture does not matter.
"""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any, BinaryIO, NamedTuple, cast

from caraway.errors import ProtocolError
from caraway.wire.capabilities import Capabilities, CommonCapability
from caraway.wire.constants import ChannelType, LinkErrorCode, Sender
from caraway.wire.fields import U8, U32, U64, LayoutError, Struct, codec, struct
from caraway.wire.framing import Frame, FrameReader
from caraway.wire.limits import MAX_LINK_SIZE
from caraway.wire.messages.link import (
    MAGIC,
    TICKET_SIZE,
    AuthMechanism,
    LinkHeader,
    LinkMessage,
    LinkReply,
    LinkResult,
    unpack_capabilities,
)

FORMAT, VERSION = "spice-capture", 1

MAX_HEADER_LINE = 1 << 20
"""Bytes of the JSON line: some hundred are usual."""

MAX_RECORD = 64 << 20
"""Bytes of one record: what one read of a socket gave, which is far less."""

MAX_CONNECTIONS = 1024
"""Connections of one capture: a session has some ten, and each costs two buffers."""

MAX_LINK_STAGE = 1 << 20
"""Bytes of one direction that may come before the other has finished the link stage."""

HEADER_SIZE = codec(LinkHeader).minimum
MECHANISM_SIZE = codec(AuthMechanism).minimum
RESULT_SIZE = codec(LinkResult).minimum


@struct
class _Record(Struct):
    connection: U32
    kind: U8
    microseconds: U64
    length: U32


_RECORD_SIZE = codec(_Record).minimum
_SENDERS = {0: Sender.CLIENT, 1: Sender.SERVER}


class CapturedMessage(NamedTuple):
    """One message of a recorded connection."""

    seconds: float
    """When its last byte came, since the recording began."""
    connection: CapturedConnection
    sender: Sender
    frame: Frame
    """With its serial, also if that was counted implicitly."""


@dataclass(slots=True, eq=False)
class CapturedConnection:
    """One recorded connection: a channel of a session."""

    number: int
    """Order of opening in the capture, from 0."""
    channel_type: int
    """A ChannelType, unless the number is not known."""
    channel_id: int
    session_id: int
    """The connection id that the client presented; 0 for a new session's main channel."""
    client_common: Capabilities
    client_channel: Capabilities
    server_common: Capabilities = field(default_factory=Capabilities)
    server_channel: Capabilities = field(default_factory=Capabilities)
    result: int | None = None
    """How the link went, a LinkErrorCode; None if it was never completed."""
    payload: dict[Sender, int] = field(default_factory=lambda: {Sender.CLIENT: 0, Sender.SERVER: 0})
    """Bytes behind the link stage."""
    _capture: Capture | None = field(default=None, repr=False)
    _starts: dict[Sender, int] = field(default_factory=dict, repr=False)

    @property
    def mini(self) -> bool:
        """Whether both sides use mini headers."""
        return CommonCapability.MINI_HEADER in self.client_common & self.server_common

    @property
    def name(self) -> str:
        """The channel, such as `display:0`."""
        known = isinstance(self.channel_type, ChannelType)
        return f"{cast(ChannelType, self.channel_type).name.lower() if known else self.channel_type}:{self.channel_id}"

    def frames(self, sender: Sender) -> Iterator[CapturedMessage]:
        """One side's messages in order; a message cut off by the end of the capture is left out. Raises ProtocolError.

        Each call reads the file again: for several connections use `Capture.frames`.
        """
        assert self._capture is not None
        return (m for m in self._capture.frames(only=self) if m.sender is sender)


@dataclass(slots=True, eq=False)
class Capture:
    """A recorded session."""

    path: str
    header: dict[str, Any]
    """The JSON of the first line."""
    connections: list[CapturedConnection] = field(default_factory=list)
    """Those whose link message is there, in the order of opening."""

    def payload(self, sender: Sender) -> Iterator[tuple[CapturedConnection, bytes]]:
        """What one side sent behind the link stages, in the order of reception. Raises ProtocolError."""
        found = {c.number: c for c in self.connections if c.result == LinkErrorCode.OK}
        skip = {number: connection._starts[sender] for number, connection in found.items()}
        for number, by, _, data in _records(self.path):
            if by is sender and number in found:
                skipped, skip[number] = skip[number], max(0, skip[number] - len(data))
                if len(data) > skipped:
                    yield found[number], data[skipped:]

    def frames(self, only: CapturedConnection | None = None) -> Iterator[CapturedMessage]:
        """The messages of all connections in the order of their last bytes. Raises ProtocolError."""
        found = {c.number: c for c in self.connections if c.result == LinkErrorCode.OK and only in (None, c)}
        readers: dict[tuple[int, Sender], _MessageReader] = {}
        for number, sender, seconds, payload in _records(self.path):
            connection = found.get(number)
            if connection is None:
                continue
            key = number, sender
            if key not in readers:
                readers[key] = _MessageReader(connection, sender)
            for frame in readers[key].feed(payload):
                yield CapturedMessage(seconds, connection, sender, frame)


class _MessageReader:
    """Messages of one direction of one connection, behind its link stage."""

    def __init__(self, connection: CapturedConnection, sender: Sender) -> None:
        self.where = f"connection {connection.number}, {connection.name}, {(sender.name or '').lower()}"
        self.skip = connection._starts[sender]
        self.mini = connection.mini
        self.reader = FrameReader(mini=self.mini)
        self.serial = 0

    def feed(self, payload: bytes) -> Iterator[Frame]:
        if self.skip:
            payload, self.skip = payload[self.skip :], max(0, self.skip - len(payload))
        try:
            for frame in self.reader.feed(payload):
                if self.mini:
                    self.serial += 1
                    frame.serial = self.serial
                yield frame
        except ProtocolError as error:
            raise ProtocolError(f"{self.where}: {error}") from None


def load(path: str | PathLike[str]) -> Capture:
    """Find the connections of a capture file; `.gz` and `.xz` are unpacked on the way.

    Raises ProtocolError if it is damaged or no capture. An unfinished end is dropped.
    """
    capture = Capture(fspath(path), _header(fspath(path)))
    stages: dict[int, _LinkStage] = {}
    for number, sender, _, payload in _records(capture.path):
        if number not in stages:
            if len(stages) == MAX_CONNECTIONS:
                raise ProtocolError(f"{capture.path}: more than {MAX_CONNECTIONS} connections")
            stages[number] = _LinkStage(number)
        stages[number].feed(sender, payload)
    for number in sorted(stages):
        if connection := stages[number].connection:
            connection._capture = capture
            capture.connections.append(connection)
    return capture


def _open(path: str) -> BinaryIO:
    if path.endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if path.endswith(".xz"):
        return cast(BinaryIO, lzma.open(path, "rb"))
    return open(path, "rb")


def _header(path: str) -> dict[str, Any]:
    try:
        with _open(path) as file:
            line = file.readline(MAX_HEADER_LINE)
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ProtocolError(f"{path}: {error}") from None
    try:
        header = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ProtocolError(f"{path}: not a capture")
    if header.get("version") != VERSION:
        raise ProtocolError(f"{path}: a capture of version {header.get('version')}, only {VERSION} is known")
    return header


def _records(path: str) -> Iterator[tuple[int, Sender, float, bytes]]:
    """Connection, sender, seconds and bytes of all records that carry any."""
    try:
        with _open(path) as file:
            file.readline(MAX_HEADER_LINE)
            while len(head := file.read(_RECORD_SIZE)) == _RECORD_SIZE:
                record = _Record.unpack(head)
                if record.length > MAX_RECORD or record.kind > 4:
                    raise ProtocolError(f"{path}: not a record: {record}")
                payload = file.read(record.length)
                if len(payload) < record.length:
                    return
                if payload and record.kind in _SENDERS:
                    yield record.connection, _SENDERS[record.kind], record.microseconds / 1e6, payload
    except EOFError:
        return
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
        raise ProtocolError(f"{path}: {error}") from None


class _LinkStage:
    """Takes a connection's first bytes apart, and counts those behind them."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.connection: CapturedConnection | None = None
        self.first = {Sender.CLIENT: bytearray(), Sender.SERVER: bytearray()}

    def feed(self, sender: Sender, payload: bytes) -> None:
        if self.connection is not None and self.connection.result is not None:
            self.connection.payload[sender] += len(payload)
            return
        self.first[sender] += payload
        if len(self.first[sender]) > MAX_LINK_STAGE + len(payload):
            raise ProtocolError(f"connection {self.number}: {len(self.first[sender])} bytes and no link")
        try:
            self.parse(self.first[Sender.CLIENT], self.first[Sender.SERVER])
        except LayoutError as error:
            raise ProtocolError(f"connection {self.number}: no SPICE link: {error}") from None

    def parse(self, up: bytearray, down: bytearray) -> None:
        if (body := _link_body(up)) is None:
            return
        if self.connection is None:
            message = LinkMessage.unpack(body)
            self.connection = CapturedConnection(
                self.number,
                message.channel_type,
                message.channel_id,
                message.connection_id,
                *unpack_capabilities(message, body),
            )
        if (answer := _link_body(down)) is None:
            return
        reply = LinkReply.unpack(answer)
        if reply.error:
            self.finish(reply.error, len(up), len(down))
            return
        self.connection.server_common, self.connection.server_channel = unpack_capabilities(reply, answer)
        self.parse_ticket(up, HEADER_SIZE + len(body), HEADER_SIZE + len(answer))

    def parse_ticket(self, up: bytearray, at: int, answered: int) -> None:
        """The rest of the link stage: the client's from `at`, the server's from `answered`."""
        assert self.connection is not None
        if CommonCapability.AUTH_SELECTION in self.connection.client_common & self.connection.server_common:
            if len(up) < at + MECHANISM_SIZE:
                return
            mechanism = AuthMechanism.unpack(up[at:]).mechanism
            if mechanism != CommonCapability.AUTH_SPICE:
                raise ProtocolError(f"connection {self.number}: no ticket but mechanism {mechanism!r}")
            at += MECHANISM_SIZE
        down = self.first[Sender.SERVER]
        if len(up) >= at + TICKET_SIZE and len(down) >= answered + RESULT_SIZE:
            self.finish(LinkResult.unpack(down[answered:]).error, at + TICKET_SIZE, answered + RESULT_SIZE)

    def finish(self, result: int, up: int, down: int) -> None:
        assert self.connection is not None
        self.connection.result = result
        self.connection._starts = {Sender.CLIENT: up, Sender.SERVER: down}
        for sender, start in self.connection._starts.items():
            self.connection.payload[sender] = len(self.first[sender]) - start
        self.first.clear()


def _link_body(data: bytearray) -> bytearray | None:
    """What a link header announces, if it is there."""
    if len(data) < HEADER_SIZE:
        return None
    header = LinkHeader.unpack(data)
    if header.magic != MAGIC:
        raise LayoutError(0, f"begins with {bytes(header.magic)!r}")
    if header.size > MAX_LINK_SIZE:
        raise LayoutError(12, f"size {header.size}, limit {MAX_LINK_SIZE}")
    end = HEADER_SIZE + header.size
    return data[HEADER_SIZE:end] if len(data) >= end else None
