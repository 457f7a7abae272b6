"""Drawings carried out where their bytes lie: they leave what the message classes would have left."""

import asyncio
import struct
from collections.abc import Sequence
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from caraway.canvas.region import Box
from caraway.client.display import DisplayChannel
from caraway.client.kernels import burst
from caraway.client.shared_images import SharedImages
from caraway.codecs import lz
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.wire.framing import FrameReader, pack_header
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import SetAck
from caraway.wire.messages.display import Mark, SurfaceCreate, SurfaceFlags, SurfaceFormat
from caraway.wire.messages.draw import CopyBits, DrawCopy, DrawFill, Rop, ScaleMode
from caraway.wire.messages.images import Image, ImageFlags, LzImage, MaskFlags, QMask, SolidBrush
from caraway.wire.messages.shapes import Point, Rect

WIDTH, HEIGHT = 24, 16
NO_MASK = QMask(MaskFlags(0), Point(0, 0), None)
BEGIN = (SurfaceCreate(0, WIDTH, HEIGHT, SurfaceFormat.XRGB32, SurfaceFlags.PRIMARY), Mark())

coordinates = st.one_of(st.integers(-4, 28), st.sampled_from([-(1 << 31), (1 << 31) - 1]))
rects = st.builds(Rect, coordinates, coordinates, coordinates, coordinates)
clips = st.none() | st.lists(rects, max_size=3)
rops = st.sampled_from([Rop.OP_PUT] * 4 + [Rop.OP_XOR, Rop.OP_PUT | Rop.INVERS_RES])
colors = st.integers(0, (1 << 32) - 1).map(SolidBrush)
surfaces = st.sampled_from([0, 0, 0, 7])
fills = st.builds(DrawFill, surfaces, rects, clips, colors, rops, st.just(NO_MASK))
moves = st.builds(CopyBits, surfaces, rects, clips, st.builds(Point, st.integers(0, 9), st.integers(0, 9)))


@st.composite
def copies(draw: st.DrawFn) -> DrawCopy:
    """An LZ picture somewhere, mostly as it is."""
    width, height = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    format = draw(st.sampled_from([PixelFormat.BGRX32, PixelFormat.BGRX32, PixelFormat.BGRA32, PixelFormat.RGB555]))
    row = format.row_bytes(width)
    tile = draw(st.binary(min_size=row, max_size=row))
    picture = Bitmap(width, height, format, row, tile * height)
    payload = LzImage(lz.encode(picture, top_down=draw(st.booleans())))
    left, top = draw(st.integers(-5, WIDTH)), draw(st.integers(-5, HEIGHT))
    stretch = draw(st.sampled_from([0, 0, 0, 1]))
    box = Rect(top, left, top + height, left + width + stretch)
    flags = draw(st.sampled_from([0, 0, 0, ImageFlags.HIGH_BITS_SET, ImageFlags.CACHE_ME]))
    image = Image(5, ImageFlags(flags), width, height, payload)
    area = Rect(0, 0, height, width)
    return DrawCopy(draw(surfaces), box, draw(clips), image, area, draw(rops), ScaleMode.NEAREST, NO_MASK)


class Received:
    """A connection on which everything has come."""

    peer = "display 0 of nowhere"
    writable = True
    machine = None

    def __init__(self, messages: Sequence[Message]) -> None:
        framed = b"".join(pack_header(True, m.id, len(body := m.pack()), 0) + body for m in messages)
        self.pending: FrameReader | None = FrameReader(mini=True, initial=framed)
        self.next_frame = self.pending.next_frame
        self.sent: list[int] = []

    def write_message(self, type: int, body: bytes, serial: int) -> None:
        self.sent.append(type)


async def display(messages: Sequence[Message], *, in_bursts: bool) -> tuple[DisplayChannel, list[int], int]:
    """A channel that has processed the messages; what it sent, and how many it took one by one."""
    received = Received(messages)
    session = SimpleNamespace(images=SharedImages(lambda: 1))
    channel = DisplayChannel(session, 0, received)  # type: ignore[arg-type]
    if not in_bursts:
        received.pending = None
    taken = 0
    while (frame := channel._next_frame(received)) is not None:  # type: ignore[arg-type]
        await channel._take(frame)
        taken += 1
    return channel, received.sent, taken


@given(st.lists(st.one_of(fills, fills, copies(), moves), max_size=12), st.integers(0, 4))
def test_bursts_draw_what_messages_draw(drawings: list[Message], window: int) -> None:
    messages = [SetAck(1, window), *BEGIN, *drawings]
    fast, fast_sent, _ = asyncio.run(display(messages, in_bursts=True))
    slow, slow_sent, _ = asyncio.run(display(messages, in_bursts=False))
    assert fast.screen.surface is not None
    assert slow.screen.surface is not None
    assert fast.screen.surface.data == slow.screen.surface.data
    assert fast_sent == slow_sent
    assert fast.processed_serial == slow.processed_serial == len(messages)


def test_simple_drawings_are_taken_in_one_go() -> None:
    box = Rect(0, 0, 4, 4)
    picture = LzImage(lz.encode(Bitmap(4, 4, PixelFormat.BGRX32, 16, bytes(range(64)))))
    image = Image(1, ImageFlags(0), 4, 4, picture)
    simple = [
        DrawFill(0, box, None, SolidBrush(5), Rop.OP_PUT, NO_MASK),
        DrawFill(0, box, [box, box], SolidBrush(5), Rop.OP_PUT, NO_MASK),
        DrawCopy(0, box, None, image, box, Rop.OP_PUT, ScaleMode.INTERPOLATE, NO_MASK),
        DrawCopy(0, box, [box], image, box, Rop.OP_PUT, ScaleMode.NEAREST, NO_MASK),
    ]
    _, _, taken = asyncio.run(display([*BEGIN, *simple * 10], in_bursts=True))
    assert taken == len(BEGIN)


def test_drawing_of_many_pixels_is_left() -> None:
    """Whoever is to draw it first makes the clip's rectangles disjoint, or has a worker for it."""
    side = 1024
    pixels, scratch = bytearray(4 * side * side), bytearray(4 << 14)
    box, tile = Rect(0, 0, side, side), Rect(0, 0, 128, 128)
    picture = LzImage(lz.encode(Bitmap(128, 128, PixelFormat.BGRX32, 512, bytes(4 << 14))))
    image = Image(1, ImageFlags(0), 128, 128, picture)
    for clip, count in (([box] * 4, 1), ([box] * 5, 0), ([tile] * 256, 1), (None, 1)):
        messages = [DrawFill(0, box, clip, SolidBrush(1), Rop.OP_PUT, NO_MASK)]
        messages += [DrawCopy(0, tile, [tile] * 257, image, tile, Rop.OP_PUT, ScaleMode.NEAREST, NO_MASK)]
        framed = b"".join(pack_header(True, m.id, len(body := m.pack()), 0) + body for m in messages)
        _, drawn, _ = burst.paint(framed, 0, len(framed), 9, pixels, 0, side, side, scratch)
        assert drawn == count


boxes = st.tuples(st.integers(0, 23), st.integers(0, 15), st.integers(1, 8), st.integers(1, 8)).map(
    lambda b: Box(b[0], b[1], min(b[0] + b[2], WIDTH), min(b[1] + b[3], HEIGHT))
)


@given(st.lists(boxes, min_size=1, max_size=30))
def test_damage_covers_what_was_drawn(drawn: list[Box]) -> None:
    framed = b""
    for box in drawn:
        body = DrawFill(0, Rect(box.top, box.left, box.bottom, box.right), None, SolidBrush(1), Rop.OP_PUT, NO_MASK)
        framed += pack_header(True, DrawFill.id, len(body.pack()), 0) + body.pack()
    pixels = bytearray(WIDTH * HEIGHT * 4)
    at, count, damage = burst.paint(framed, 0, len(framed), 100, pixels, 0, WIDTH, HEIGHT, bytearray(4))
    assert (at, count) == (len(framed), len(drawn))
    assert len(damage) <= 8
    for number, word in enumerate(struct.iter_unpack("<I", pixels)):
        y, x = divmod(number, WIDTH)
        assert not word[0] or any(left <= x < right and top <= y < bottom for left, top, right, bottom in damage)


@given(st.binary(max_size=80), st.integers(0, 3))
def test_damaged_bytes_are_left_to_the_message_classes(noise: bytes, kind: int) -> None:
    body = DrawFill(0, Rect(0, 0, 4, 4), [Rect(0, 0, 2, 2)], SolidBrush(1), Rop.OP_PUT, NO_MASK).pack()
    framed = pack_header(True, DrawFill.id, len(body), 0) + body
    at = len(noise) * kind % len(framed)
    framed = framed[:at] + noise + framed[at + len(noise) :]
    pixels = bytearray(WIDTH * HEIGHT * 4)
    start, count, _ = burst.paint(framed, 0, len(framed), 100, pixels, 0, WIDTH, HEIGHT, bytearray(4))
    assert 0 <= start <= len(framed)
    if not count:
        assert not any(pixels)
