"""Messages parsed per second: from the bytes of a connection to typed messages.

    python benchmarks/messages.py [--json]

The floor beside each figure is a parser by hand for that one message: `struct` and nested tuples, no checks, no types.
The ratio is our time over the floor's (smaller is better); 5,000 draws a second is what a busy guest sends.
"""

from __future__ import annotations

import argparse
import json
import struct
import timeit
from collections.abc import Callable
from typing import Any

from caraway.wire.constants import ChannelType, Sender
from caraway.wire.framing import FrameReader, pack_header
from caraway.wire.messages import base
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import Ping
from caraway.wire.messages.draw import DrawCopy, DrawFill, Rop, ScaleMode
from caraway.wire.messages.images import Image, ImageFlags, LzImage, MaskFlags, QMask, SolidBrush
from caraway.wire.messages.shapes import Point, Rect

COUNT = 2_000
REPEATS = 7

NO_MASK = QMask(MaskFlags(0), Point(0, 0), None)
BOX = Rect(10, 10, 42, 42)


def clipped_by(count: int) -> list[Rect]:
    return [Rect(n, n, n + 4, n + 4) for n in range(count)]


def picture(size: int) -> Image:
    return Image(1, ImageFlags(0), 32, 32, LzImage(bytes(size)))


MESSAGES: dict[str, Message] = {
    "ping": Ping(1, 2, b""),
    "fill": DrawFill(0, BOX, None, SolidBrush(0xFFFFFF), Rop.OP_PUT, NO_MASK),
    "copy": DrawCopy(0, BOX, None, picture(200), BOX, Rop.OP_PUT, ScaleMode.NEAREST, NO_MASK),
    "copy, 8 clip rects": DrawCopy(0, BOX, clipped_by(8), picture(200), BOX, Rop.OP_PUT, ScaleMode.NEAREST, NO_MASK),
}

FILL = struct.Struct("<I4iBBIHBiiI").unpack_from
COPY = struct.Struct("<I4iB").unpack_from
COPY_REST = struct.Struct("<I4iHBBiiI").unpack_from
CLIP = struct.Struct("<I").unpack_from
RECT = struct.Struct("<4i")
IMAGE = struct.Struct("<QBBIII").unpack_from
PING = struct.Struct("<IQ").unpack_from


def floor_copy(body: bytes) -> tuple[Any, ...]:
    head, at = COPY(body, 0), 21
    clip: tuple[Any, ...] = ()
    if head[5]:
        (count,) = CLIP(body, 21)
        at = 25 + 16 * count
        clip = tuple(RECT.iter_unpack(body[25:at]))
    rest = COPY_REST(body, at)
    image = IMAGE(body, rest[0])
    return head, clip, rest, image, body[rest[0] + 22 : rest[0] + 22 + image[5]]


FLOORS: dict[str, Callable[[bytes], Any]] = {
    "ping": lambda body: PING(body, 0),
    "fill": lambda body: FILL(body, 0),
    "copy": floor_copy,
    "copy, 8 clip rects": floor_copy,
}


def seconds(work: Callable[[], Any]) -> float:
    """The best of several runs, per message."""
    return min(timeit.repeat(work, number=1, repeat=REPEATS)) / COUNT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    table = base.messages(ChannelType.DISPLAY, Sender.SERVER)
    result = {}
    for name, message in MESSAGES.items():
        body = message.pack()
        stream = (pack_header(True, message.id, len(body), 0) + body) * COUNT
        floor, reader = FLOORS[name], FrameReader(mini=True)

        def ours(stream: bytes = stream, reader: FrameReader = reader) -> None:
            for frame in reader.feed(stream):
                base.unpack(table[frame.type], frame.body, "display 0")

        def bare(body: bytes = body, floor: Callable[[bytes], Any] = floor) -> None:
            for _ in range(COUNT):
                floor(body)

        mine, least = seconds(ours), seconds(bare)
        result[name] = {"per_second": round(1 / mine), "microseconds": round(mine * 1e6, 2)}
        result[name] |= {"floor_microseconds": round(least * 1e6, 2), "ratio": round(mine / least, 1)}
    if options.json:
        print(json.dumps(result))
        return
    for name, row in result.items():
        print(
            f"{name:20} {row['per_second']:>9,}/s {row['microseconds']:6.2f} us"
            f"   floor {row['floor_microseconds']:5.2f} us   ratio {row['ratio']}"
        )


if __name__ == "__main__":
    main()
