"""`caraway inspect`: what a recorded session holds, message by message."""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from caraway.cli.common import fail
from caraway.errors import CarawayError, ProtocolError
from caraway.wire.agent_stream import AgentStream
from caraway.wire.capture import Capture, CapturedConnection, CapturedMessage, load
from caraway.wire.constants import ChannelType, LinkErrorCode, Sender
from caraway.wire.fields import Buffer, LayoutError, Struct
from caraway.wire.messages import images
from caraway.wire.messages.agent import AGENT_MESSAGES
from caraway.wire.messages.base import Message, messages
from caraway.wire.messages.common import List
from caraway.wire.messages.main import (
    AgentConnected,
    AgentConnectedTokens,
    AgentData,
    AgentDisconnected,
    ClientAgentData,
)
from caraway.wire.messages.shapes import Point, Point16, Rect
from caraway.wire.sublist import unpack_sub_list

SUMMARY_WIDTH = 100
"""Characters of a summary: a row then fits a wide terminal."""

IMAGE_TYPES: dict[type[Struct], str] = {
    images.BitmapImage: "bitmap",
    images.QuicImage: "quic",
    images.LzPaletteImage: "lz_plt",
    images.LzImage: "lz_rgb",
    images.GlzImage: "glz_rgb",
    images.FromCache: "from_cache",
    images.SurfaceImage: "surface",
    images.JpegImage: "jpeg",
    images.FromCacheLossless: "from_cache_lossless",
    images.ZlibGlzImage: "zlib_glz_rgb",
    images.JpegAlphaImage: "jpeg_alpha",
    images.Lz4Image: "lz4",
}


@dataclasses.dataclass(slots=True)
class Row:
    """One message."""

    seconds: float
    """Since the recording began."""
    channel: str
    sender: str
    """`client` or `server`."""
    message: str
    """Its name, or its number if it is not known."""
    size: int
    """Bytes of the body."""
    summary: str
    image: str | None = None
    """Type of a drawing's source image, `none` for a drawing that could have one and does not."""


class Totals:
    """Sums over rows."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, Counter[str]]] = {"server": {}, "client": {}}
        self.images: dict[str, list[int]] = {}

    def add(self, row: Row) -> None:
        self.messages[row.sender].setdefault(row.channel, Counter())[row.message.lower()] += 1
        if row.image is not None:
            entry = self.images.setdefault(row.image, [0, 0])
            entry[0] += 1
            entry[1] += row.size

    def as_json(self) -> dict[str, Any]:
        """Counts by sender, channel and message; of images count and bytes of the messages that carry them."""
        return {"messages": self.messages, "images": self.images}


def describe(capture: Capture, channel: str | None = None) -> Iterator[Row]:
    """The messages of a capture, in the order in which they came.

    channel: only those of a channel such as `display:0`, or of all of a type such as `display`.
    Messages that do not parse are described as such. Raises ProtocolError for what cannot be cut into messages.
    """
    streams: dict[tuple[CapturedConnection, Sender], AgentStream] = {}
    for captured in capture.frames():
        if selects(channel, captured.connection):
            yield _row(captured, streams)


def selects(channel: str | None, connection: CapturedConnection) -> bool:
    """Whether a `--channel` names this connection."""
    return channel is None or channel in (connection.name, connection.name.partition(":")[0])


def _row(captured: CapturedMessage, streams: dict[tuple[CapturedConnection, Sender], AgentStream]) -> Row:
    connection, sender, frame = captured.connection, captured.sender, captured.frame
    row = Row(captured.seconds, connection.name, _name(sender), str(frame.type), len(frame.body), "not known")
    if isinstance(connection.channel_type, ChannelType):
        cls = messages(connection.channel_type, sender).get(frame.type)
        if cls is not None:
            row.message = cls.wire_name()
            try:
                message = cls.unpack(frame.body)
                row.summary = _summary(message, connection, sender, streams)
                row.image = _image_type(message)
            except (LayoutError, ProtocolError) as error:
                row.summary = f"malformed: {error}"
                streams.pop((connection, sender), None)
    if len(row.summary) > SUMMARY_WIDTH:
        row.summary = row.summary[: SUMMARY_WIDTH - 1] + "…"
    return row


def _name(sender: Sender) -> str:
    return "client" if sender is Sender.CLIENT else "server"


def _image_type(message: Message) -> str | None:
    if "src_bitmap" not in message.fields:
        return None
    image: images.Image | None = message.src_bitmap  # type: ignore[attr-defined]
    return "none" if image is None else IMAGE_TYPES[type(image.payload)]


def _summary(
    message: Message,
    connection: CapturedConnection,
    sender: Sender,
    streams: dict[tuple[CapturedConnection, Sender], AgentStream],
) -> str:
    if isinstance(message, List):
        assert isinstance(connection.channel_type, ChannelType)
        known = messages(connection.channel_type, sender)
        types = [number for number, _ in unpack_sub_list(message.sub_list)]
        return ", ".join(known[n].wire_name() if n in known else str(n) for n in types)
    if isinstance(message, AgentData | ClientAgentData):
        stream = streams.setdefault((connection, sender), AgentStream())
        complete = [number for number, _ in stream.feed(message.data)]
        return ", ".join(AGENT_MESSAGES[n].wire_name() if n in AGENT_MESSAGES else str(n) for n in complete)
    if isinstance(message, AgentConnected | AgentConnectedTokens | AgentDisconnected):
        for each in Sender.CLIENT, Sender.SERVER:
            streams.pop((connection, each), None)
    return _fields(message)


def _fields(structure: Struct) -> str:
    shown = ((name, _value(getattr(structure, name))) for name in structure.fields)
    return " ".join(f"{name}={text}" for name, text in shown if text)


def _value(value: object) -> str:
    """A field's value in few characters; nothing for an absent one."""
    match value:
        case None:
            return ""
        case enum.Flag():
            return "|".join(member.name or "" for member in type(value) if member in value) or "0"
        case enum.Enum():
            return value.name
        case bool() | int() | str():
            return repr(value)
        case Rect():
            return f"{value.left},{value.top}+{value.width}x{value.height}"
        case Point() | Point16():
            return f"{value.x},{value.y}"
        case images.Image():
            return f"{IMAGE_TYPES[type(value.payload)]}:{value.width}x{value.height}"
        case images.QMask():
            return _value(value.bitmap)
        case list():
            return f"[{len(value)}]" if len(value) > 4 else f"[{', '.join(map(_value, value))}]"
        case Struct():
            return f"({_fields(value)})"
        case _ if isinstance(value, Buffer):
            return f"<{len(value)} bytes>" if value else ""
    return repr(value)


def _connection(connection: CapturedConnection) -> dict[str, Any]:
    result = connection.result
    return {
        "connection": connection.number,
        "channel": connection.name,
        "session_id": connection.session_id,
        "header": "mini" if connection.mini else "full",
        "client_capabilities": [list(connection.client_common), list(connection.client_channel)],
        "server_capabilities": [list(connection.server_common), list(connection.server_channel)],
        "link": result.name if isinstance(result, LinkErrorCode) else result,
        "client_bytes": connection.payload[Sender.CLIENT],
        "server_bytes": connection.payload[Sender.SERVER],
    }


def _print_row(row: Row) -> None:
    arrow = "->" if row.sender == "client" else "<-"
    click.echo(f"{row.seconds:11.6f} {row.channel:<11} {arrow} {row.message:<24} {row.size:>8}  {row.summary}")


def _print_totals(connections: Iterable[CapturedConnection], totals: Totals) -> None:
    for c in connections:
        link = c.result.name if isinstance(c.result, LinkErrorCode) else c.result
        sizes = f"{c.payload[Sender.SERVER]} bytes from the server, {c.payload[Sender.CLIENT]} from the client"
        click.echo(f"connection {c.number}  {c.name:<11} link {link}, {'mini' if c.mini else 'full'} headers, {sizes}")
    for sender, channels in totals.messages.items():
        for channel, counts in sorted(channels.items()):
            named = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            click.echo(f"{channel:<11} from the {sender}: {named}")
    for kind, (count, size) in sorted(totals.images.items()):
        click.echo(f"images      {kind:<20} {count:>8} {size:>12} bytes")


@click.command("inspect")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--channel", help="Only this channel, such as display or display:0.")
@click.option("--limit", type=click.IntRange(min=0), help="Show so many messages; the totals count all.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: each message, then the totals.")
def command(file: str, channel: str | None, limit: int | None, as_json: bool) -> None:
    """Show what a recorded session holds, message by message, and count it.

    FILE is a capture as the recorder of this project writes it, also compressed (.xz, .gz).
    """
    try:
        _inspect(file, channel, limit, as_json)
    except CarawayError as error:
        fail(error, as_json=as_json)


def _inspect(file: str, channel: str | None, limit: int | None, as_json: bool) -> None:
    capture = load(file)
    connections = [c for c in capture.connections if selects(channel, c)]
    if channel is not None and not connections:
        names = ", ".join(sorted({c.name for c in capture.connections}))
        raise click.BadParameter(f"{channel!r} is not in this capture; it has {names or 'no channels'}")
    totals = Totals()
    with _bar(sum(size for c in connections for size in c.payload.values())) as advance:
        for number, row in enumerate(describe(capture, channel)):
            totals.add(row)
            advance(row.size)
            if limit is None or number < limit:
                if as_json:
                    click.echo(json.dumps(dataclasses.asdict(row)))
                else:
                    _print_row(row)
    if as_json:
        summary = {"file": file, "header": capture.header, "connections": [_connection(c) for c in connections]}
        click.echo(json.dumps(summary | totals.as_json()))
    else:
        _print_totals(connections, totals)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A line of progress on the standard error if that is a terminal, and the messages go elsewhere."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda size: bar.advance(task, size)
