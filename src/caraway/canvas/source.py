"""Sources of drawing in the words of a destination: conversion, scaling, tiles (spec/canvas.md 4, 5)."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from caraway.canvas.region import Box, PointLike, RectLike, intersect
from caraway.canvas.surface import Surface, pixel_bytes, pixel_format
from caraway.codecs import pixels
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.codecs.pixels import Buffer
from caraway.errors import CodecError, ProtocolError
from caraway.wire.messages.display import SurfaceFormat
from caraway.wire.messages.draw import ScaleMode

Source = Bitmap | Surface


@dataclass(slots=True)
class Plane:
    """Words of a destination's format that lie on it at `box`: rows `stride` bytes apart from the start of `data`."""

    box: Box
    stride: int
    data: memoryview
    pixel_bytes: int

    def contiguous(self, box: Box) -> memoryview | None:
        """The words of `box` (within the plane) if nothing lies between its rows."""
        if self.stride != box.width * self.pixel_bytes:
            return None
        start = (box.top - self.box.top) * self.stride
        return self.data[start : start + box.height * self.stride]

    def row(self, y: int) -> memoryview:
        """The words of one row of the plane."""
        start = (y - self.box.top) * self.stride
        return self.data[start : start + self.box.width * self.pixel_bytes]

    def rows(self, box: Box) -> Iterator[Buffer]:
        """The words of each row of `box`, which lies within the plane."""
        start = (box.top - self.box.top) * self.stride + (box.left - self.box.left) * self.pixel_bytes
        size = box.width * self.pixel_bytes
        for at in range(start, start + box.height * self.stride, self.stride):
            yield self.data[at : at + size]


@dataclass(slots=True)
class Solid:
    """One word everywhere."""

    word: bytes

    def rows(self, box: Box) -> Iterator[Buffer]:
        """The same row for each row of `box`."""
        row = self.word * box.width
        for _ in range(box.height):
            yield row


@dataclass(slots=True)
class Tile:
    """A plane repeated without end in all directions."""

    plane: Plane

    def rows(self, box: Box) -> Iterator[Buffer]:
        """The words of each row of `box`."""
        tile, size = self.plane.box, self.plane.pixel_bytes
        start = (box.left - tile.left) % tile.width * size
        repeats = (start + box.width * size) // (tile.width * size) + 1
        for y in range(box.top, box.bottom):
            row = self.plane.row(tile.top + (y - tile.top) % tile.height)
            yield (bytes(row) * repeats)[start : start + box.width * size]


@dataclass(slots=True)
class Pattern:
    """A brush that repeats a tile, whose left top pixel lies at `pos` of the destination."""

    tile: Source
    pos: PointLike


Operand = Solid | Tile | Plane
Brush = int | Pattern | None
"""A colour word, a pattern, or NONE, which is word 0."""


def solid(color: int, format: SurfaceFormat) -> Solid:
    """A colour word of a message as an operand."""
    if format is SurfaceFormat.A1:
        return Solid(b"\xff" if color & 1 else b"\0")
    size = pixel_bytes(format)
    return Solid((color & ((1 << 8 * size) - 1)).to_bytes(size, "little"))


def brush_operand(brush: Brush, destination: Surface) -> Operand:
    """A brush as an operand on `destination`.

    Raises ProtocolError for a tile that cannot be drawn on such a surface.
    """
    if not isinstance(brush, Pattern):
        return solid(brush or 0, destination.format)
    tile = brush.tile
    plane = to_words(tile, Box(0, 0, tile.width, tile.height), destination)
    plane.box = plane.box.moved(brush.pos.x, brush.pos.y)
    return Tile(plane)


def to_words(source: Source, area: Box, destination: Surface) -> Plane:
    """An area of a source in the destination's format, at its place in the source.

    area: within the source. Words that need no conversion are viewed, not copied, but for the destination's own.
    Raises ProtocolError for a surface of another depth, CodecError for a bitmap that has no colours.
    """
    format = destination.format
    size = destination.pixel_bytes
    if isinstance(source, Surface):
        if source.depth != destination.depth:
            raise ProtocolError(f"surface of {source.depth} bits drawn on one of {destination.depth}")
        view, stride = source.view, source.stride
        start = area.top * stride + area.left * size
        if source is not destination:
            return Plane(area, stride, view[start:], size)
        own = bytes(pixels.packed_rows(view[start:], stride, area.width * size, area.height, flip=False))
        return Plane(area, area.width * size, memoryview(own), size)
    if source.format in _AS_IT_IS[format]:
        start = area.top * source.stride + area.left * size
        return Plane(area, source.stride, memoryview(source.data)[start:], size)
    return Plane(area, area.width * size, memoryview(_converted(source, area, format)), size)


_WORDS_32 = (PixelFormat.BGRX32, PixelFormat.BGRA32)
_AS_IT_IS: dict[SurfaceFormat, tuple[PixelFormat, ...]] = {
    SurfaceFormat.A1: (),
    SurfaceFormat.A8: (PixelFormat.A8,),
    SurfaceFormat.RGB555: (PixelFormat.RGB555, PixelFormat.RGB555_OPAQUE),
    SurfaceFormat.RGB565: (PixelFormat.RGB565,),
    SurfaceFormat.XRGB32: _WORDS_32,
    SurfaceFormat.ARGB32: _WORDS_32,
}
_THRESHOLD = bytes(255 if byte > 127 else 0 for byte in range(256))
_ALL_OR_NOTHING = bytes([0, 255]) + bytes(254)


def _converted(source: Bitmap, area: Box, format: SurfaceFormat) -> Buffer:
    if source.format.bits == 1 and format is SurfaceFormat.A1:
        return b"".join(bit_rows(source, area))
    if source.format.bits < 8 or source.format is PixelFormat.INDEX8:
        raise CodecError(f"{source.format.name} bitmap has no colours to draw")
    size = source.format.bits // 8
    start = area.top * source.stride + area.left * size
    rows = pixels.packed_rows(
        memoryview(source.data)[start:], source.stride, area.width * size, area.height, flip=False
    )
    if format in (SurfaceFormat.A8, SurfaceFormat.A1):
        alpha = _alpha(rows, source.format)
        return alpha if format is SurfaceFormat.A8 else alpha.translate(_THRESHOLD)
    bgrx = to_bgrx(rows, source.format)
    if format is SurfaceFormat.RGB555:
        return pixels.rgb555_from_bgrx(bgrx)
    if format is SurfaceFormat.RGB565:
        return pixels.rgb565_from_bgrx(bgrx)
    return bgrx


def _alpha(rows: Buffer, format: PixelFormat) -> bytes:
    if format is PixelFormat.A8:
        return bytes(rows)
    if format is PixelFormat.BGRA32:
        return bytes(rows[3::4])
    return b"\xff" * (len(rows) * 8 // format.bits)


def to_bgrx(rows: Buffer, format: PixelFormat) -> Buffer:
    """Packed pixels of 8 bits or more as 4 bytes each."""
    match format:
        case PixelFormat.BGR24:
            return pixels.bgrx_from_bgr(rows)
        case PixelFormat.RGB555:
            return pixels.bgrx_from_555(rows)
        case PixelFormat.RGB555_OPAQUE:
            return pixels.bgrx_from_555(rows, x=255)
        case PixelFormat.RGB565:
            return pixels.bgrx_from_565(rows)
        case PixelFormat.A8:
            black = bytearray(len(rows) * 4)
            black[3::4] = rows
            return black
        case _:
            return rows


def bit_rows(bitmap: Bitmap, area: Box) -> Iterator[bytes]:
    """Rows of a 1-bit bitmap, a byte a pixel, 0 or 255."""
    view = memoryview(bitmap.data)
    low_first = bitmap.format is PixelFormat.BIT1_LE
    first = area.left // 8
    for y in range(area.top, area.bottom):
        packed = view[y * bitmap.stride + first : y * bitmap.stride + (area.right + 7) // 8]
        bits = pixels.indices_from_bits(packed, 1, low_first=low_first)
        yield bits[area.left - 8 * first : area.right - 8 * first].translate(_ALL_OR_NOTHING)


def scaled(
    source: Source, src_area: RectLike, box: RectLike, part: Box, mode: int, destination: Surface, *, opaque: bool
) -> Plane:
    """`part` of `box`, with `src_area` of the source scaled to the size of `box`, in the destination's format.

    opaque: on an ARGB surface, give pixels of a source without alpha a = 255.
    Errors as those of `to_words`.
    """
    columns = _samples(src_area.left, src_area.right, box.left, box.right, range(part.left, part.right))
    rows = _samples(src_area.top, src_area.bottom, box.top, box.bottom, range(part.top, part.bottom))
    scale = _nearest if mode == ScaleMode.NEAREST else _interpolated
    words = scale(source, columns, rows, destination)
    if opaque and destination.format is SurfaceFormat.ARGB32 and not _has_alpha(source):
        words[3::4] = b"\xff" * (len(words) // 4)
    return Plane(part, part.width * destination.pixel_bytes, memoryview(words), destination.pixel_bytes)


def _has_alpha(source: Source) -> bool:
    if isinstance(source, Surface):
        return source.format is not SurfaceFormat.XRGB32
    return source.format in (PixelFormat.BGRA32, PixelFormat.A8)


def _samples(source_start: int, source_end: int, start: int, end: int, places: range) -> list[int]:
    """16.16 coordinates in the source of the pixel centres at `places` of the destination."""
    factor = (source_end - source_start) * 65536 // (end - start)
    first = ((factor + 1) >> 1) + (source_start << 16)
    return [factor * (place - start) + first for place in places]


def _touched(source: Source, columns: Sequence[int], rows: Sequence[int]) -> Box | None:
    """The part of the source that lies within these columns and rows."""
    reach = Box(min(columns), min(rows), max(columns) + 1, max(rows) + 1)
    return intersect(reach, Box(0, 0, source.width, source.height))


def _nearest(source: Source, columns: list[int], rows: list[int], destination: Surface) -> bytearray:
    columns, rows = [(p - 1) >> 16 for p in columns], [(p - 1) >> 16 for p in rows]
    size = destination.pixel_bytes
    area = _touched(source, columns, rows)
    out = bytearray()
    if area is None:
        return bytearray(len(columns) * len(rows) * size)
    code = _CODES[size]
    outside = area.width
    picks = [x - area.left if area.left <= x < area.right else outside for x in columns]
    words = to_words(source, area, destination)
    nothing = row_words = bytes(len(columns) * size)
    current = None
    for y in rows:
        if y != current:
            current = y
            if area.top <= y < area.bottom:
                values = [*words.row(y).cast(code), 0]
                row_words = array(code, [values[pick] for pick in picks]).tobytes()
            else:
                row_words = nothing
        out += row_words
    if destination.format is SurfaceFormat.RGB555:
        out[1::2] = out[1::2].translate(_WITHOUT_BIT_7)
    return out


_CODES: dict[int, Literal["B", "H", "I"]] = {1: "B", 2: "H", 4: "I"}
_WITHOUT_BIT_7 = bytes(byte & 127 for byte in range(256))


def _interpolated(source: Source, columns: list[int], rows: list[int], destination: Surface) -> bytearray:
    """Bilinear, on 8-bit components; rows are mixed horizontally once, then pairwise."""
    format = destination.format
    alpha_only = destination.pixel_bytes == 1
    components = 1 if alpha_only else 4
    columns, rows = [p - 32768 for p in columns], [p - 32768 for p in rows]
    lefts, tops = [q >> 16 for q in columns], [q >> 16 for q in rows]
    area = _touched(source, [*lefts, max(lefts) + 1], [*tops, max(tops) + 1])
    if area is None:
        return bytearray(len(columns) * len(rows) * destination.pixel_bytes)
    words = to_words(source, area, destination)
    outside = area.width
    mix = [
        (
            x - area.left if area.left <= x < area.right else outside,
            x + 1 - area.left if area.left <= x + 1 < area.right else outside,
            q >> 9 & 127,
        )
        for x, q in zip(lefts, columns, strict=True)
    ]
    zeros = [[0] * len(columns)] * components
    mixed: dict[int, list[list[int]]] = {}

    def mixed_row(y: int) -> list[list[int]]:
        if not area.top <= y < area.bottom:
            return zeros
        if y not in mixed:
            if len(mixed) > 1:
                del mixed[min(mixed)]
            row = words.row(y)
            wide = bytes(row if alpha_only else to_bgrx(row, pixel_format(format)))
            planes = [wide[component::components] + b"\0" for component in range(components)]
            mixed[y] = [[plane[at] * (128 - w) + plane[after] * w for at, after, w in mix] for plane in planes]
        return mixed[y]

    out = bytearray(len(columns) * components * len(rows))
    for number, (y, q) in enumerate(zip(tops, rows, strict=True)):
        v = q >> 9 & 127
        start = number * len(columns) * components
        for component, (upper, lower) in enumerate(zip(mixed_row(y), mixed_row(y + 1), strict=True)):
            line = bytes([(t * (128 - v) + b * v) >> 14 for t, b in zip(upper, lower, strict=True)])
            out[start + component : start + len(columns) * components : components] = line
    if format is SurfaceFormat.RGB555:
        return pixels.rgb555_from_bgrx(out)
    if format is SurfaceFormat.RGB565:
        return pixels.rgb565_from_bgrx(out)
    if format is SurfaceFormat.A1:
        return out.translate(_THRESHOLD)
    return out
