"""Sources of drawing in the words of a destination: conversion, scaling, tiles (spec/canvas.md 4, 5)."""

import enum
from dataclasses import dataclass

from caraway.canvas.kernels.convert import bits, convert
from caraway.canvas.kernels.sample import sample
from caraway.canvas.region import Box, PointLike, RectLike, intersect
from caraway.canvas.surface import Surface
from caraway.codecs import pixels
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.codecs.pixels import Buffer
from caraway.errors import CodecError, ProtocolError
from caraway.wire.messages.display import SurfaceFormat
from caraway.wire.messages.draw import ScaleMode

Source = Bitmap | Surface


@dataclass(slots=True)
class Plane:
    """Words of a destination's format that lie on it at `box`, and from there repeated in all directions.

    data: rows `stride` bytes apart.
    """

    box: Box
    stride: int
    data: Buffer

    def moved(self, dx: int, dy: int) -> "Plane":
        """The same words, that much further right and down."""
        return Plane(self.box.moved(dx, dy), self.stride, self.data)

    def at(self, left: int, top: int) -> tuple[Buffer, int, int, int, int, int]:
        """As kernels take it: data, stride, width, height, which word lies at a place of the destination."""
        box = self.box
        return (
            self.data,
            self.stride,
            box.width,
            box.height,
            (left - box.left) % box.width,
            (top - box.top) % box.height,
        )


NOTHING = Plane(Box(0, 0, 1, 1), 4, bytes(4))
"""Word 0 everywhere."""


@dataclass(slots=True)
class Pattern:
    """A brush that repeats a tile, whose left top pixel lies at `pos` of the destination."""

    tile: Source
    pos: PointLike


Brush = int | Pattern | None
"""A colour word, a pattern, or NONE, which is word 0."""


class Layout(enum.IntEnum):
    """Layouts of pixels as the kernels number them."""

    BGRA = 0
    BGRX = 1
    RGB555 = 2
    RGB565 = 3
    ALPHA8 = 4
    BGR24 = 5


OPAQUE = 0xFF000000

SURFACE_LAYOUT = {
    SurfaceFormat.A1: Layout.ALPHA8,
    SurfaceFormat.A8: Layout.ALPHA8,
    SurfaceFormat.RGB555: Layout.RGB555,
    SurfaceFormat.RGB565: Layout.RGB565,
    SurfaceFormat.XRGB32: Layout.BGRX,
    SurfaceFormat.ARGB32: Layout.BGRA,
}
BITMAP_LAYOUT = {
    PixelFormat.BGRX32: Layout.BGRX,
    PixelFormat.BGRA32: Layout.BGRA,
    PixelFormat.BGR24: Layout.BGR24,
    PixelFormat.RGB555: Layout.RGB555,
    PixelFormat.RGB555_OPAQUE: Layout.RGB555,
    PixelFormat.RGB565: Layout.RGB565,
    PixelFormat.A8: Layout.ALPHA8,
}
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


def color_word(brush: int | None, destination: Surface) -> int:
    """The word that a solid brush paints: a byte 0 or 255 on surfaces of 1 bit."""
    if destination.depth == 1:
        return 255 if brush and brush & 1 else 0
    return (brush or 0) & 0xFFFFFFFF


def brush_plane(brush: Brush, destination: Surface) -> Plane:
    """A brush as words of `destination`.

    Raises ProtocolError for a tile that cannot be drawn on such a surface.
    """
    if isinstance(brush, Pattern):
        tile = brush.tile
        return to_words(tile, Box(0, 0, tile.width, tile.height), destination).moved(brush.pos.x, brush.pos.y)
    return Plane(Box(0, 0, 1, 1), 4, color_word(brush, destination).to_bytes(4, "little"))


def as_it_is(source: Source, destination: Surface) -> bool:
    """Whether the words of a source are words of `destination` already.

    Raises ProtocolError for a surface of another depth.
    """
    if isinstance(source, Surface):
        if source.depth != destination.depth:
            raise ProtocolError(f"surface of {source.depth} bits drawn on one of {destination.depth}")
        return True
    return source.format in _AS_IT_IS[destination.format]


def to_words(source: Source, area: Box, destination: Surface) -> Plane:
    """An area of a source in the destination's format, at its place in the source.

    area: within the source. Words that need no conversion are viewed, not copied, but for the destination's own.
    Raises ProtocolError for a surface of another depth, CodecError for a bitmap that has no colours.
    """
    size = destination.pixel_bytes
    if as_it_is(source, destination):
        start = area.top * source.stride + area.left * size
        view = memoryview(source.data)[start:]
        if source is not destination:
            return Plane(area, source.stride, view)
        own = bytes(pixels.packed_rows(view, source.stride, area.width * size, area.height, flip=False))
        return Plane(area, area.width * size, own)
    assert isinstance(source, Bitmap)
    if destination.depth == 1 and source.format.bits == 1:
        return Plane(area, area.width, _bits(source, area, invers=False))
    return Plane(area, area.width * size, _converted(source, area, destination.format))


def to_bgra(source: Source, area: Box, *, opaque: bool = False) -> Plane:
    """An area of a source as b, g, r, a, premultiplied, at its place in the source; viewed where it is so already.

    a is 255 without alpha, or if `opaque`. Raises CodecError for a bitmap that has no colours.
    """
    if isinstance(source, Surface):
        layout, size = SURFACE_LAYOUT[source.format], source.pixel_bytes
    else:
        layout, size = _bitmap_layout(source), source.format.bits // 8
    start = area.top * source.stride + area.left * size
    view = memoryview(source.data)[start:]
    opaque = opaque or layout not in (Layout.BGRA, Layout.ALPHA8)
    if layout is Layout.BGRA and not opaque:
        return Plane(area, source.stride, view)
    out = bytearray(area.width * area.height * 4)
    high = OPAQUE if opaque else 0
    convert(out, area.width * 4, Layout.BGRA, view, source.stride, layout, high, area.width, area.height)
    return Plane(area, area.width * 4, out)


def _bitmap_layout(source: Bitmap) -> Layout:
    layout = BITMAP_LAYOUT.get(source.format)
    if layout is None:
        raise CodecError(f"{source.format.name} bitmap has no colours to draw")
    return layout


def _converted(source: Bitmap, area: Box, format: SurfaceFormat) -> bytearray:
    """Words of `format`. Images without alpha are opaque on surfaces that have nothing but alpha."""
    layout = _bitmap_layout(source)
    target = SURFACE_LAYOUT[format]
    high = 0
    if source.format is PixelFormat.RGB555_OPAQUE or (target is Layout.ALPHA8 and not has_alpha(source)):
        high = OPAQUE
    start = area.top * source.stride + area.left * (source.format.bits // 8)
    return _packed(memoryview(source.data)[start:], source.stride, layout, high, area, format)


def _packed(data: Buffer, stride: int, layout: Layout, high: int, area: Box, format: SurfaceFormat) -> bytearray:
    target = SURFACE_LAYOUT[format]
    if target is Layout.BGRX:
        target = Layout.BGRA
    size = {Layout.BGRA: 4, Layout.ALPHA8: 1}.get(target, 2)
    out = bytearray(area.width * area.height * size)
    convert(out, area.width * size, target, data, stride, layout, high, area.width, area.height)
    return out.translate(_THRESHOLD) if format is SurfaceFormat.A1 else out


def mask_plane(bitmap: Source, area: Box, *, invers: bool) -> tuple[Buffer, int]:
    """An area of a mask as kernels take it: a byte a pixel, not 0 where to draw, and the stride of its rows.

    bitmap: 1 bit a pixel, or a surface of format A1.
    """
    if isinstance(bitmap, Bitmap):
        return _bits(bitmap, area, invers=invers), area.width
    view = bitmap.view[area.top * bitmap.stride + area.left :]
    if not invers:
        return view, bitmap.stride
    drawn = bytes(pixels.packed_rows(view, bitmap.stride, area.width, area.height, flip=False))
    return drawn.translate(_COMPLEMENT), area.width


_COMPLEMENT = bytes(255 - byte for byte in range(256))


def _bits(bitmap: Bitmap, area: Box, *, invers: bool) -> bytearray:
    low_first = bitmap.format is PixelFormat.BIT1_LE
    out: bytearray = bits(bitmap.data, bitmap.stride, area.left, area.top, area.width, area.height, low_first, invers)
    return out


def has_alpha(source: Source) -> bool:
    """Whether its pixels carry alpha."""
    if isinstance(source, Surface):
        return source.format is not SurfaceFormat.XRGB32
    return source.format in (PixelFormat.BGRA32, PixelFormat.A8)


def scaled(
    source: Source, src_area: RectLike, box: RectLike, part: Box, mode: int, destination: Surface, *, opaque: bool
) -> Plane:
    """`part` of `box`, with `src_area` of the source scaled to the size of `box`, in the destination's format.

    opaque: on an ARGB surface, give pixels of a source without alpha a = 255.
    Errors as those of `to_words`.
    """
    bilinear = mode != ScaleMode.NEAREST
    u, across, left, right = _samples(
        src_area.left, src_area.right, box.left, box.right, part.left, part.right, bilinear
    )
    v, down, top, bottom = _samples(src_area.top, src_area.bottom, box.top, box.bottom, part.top, part.bottom, bilinear)
    format = destination.format
    size = destination.pixel_bytes
    area = intersect(Box(left, top, right, bottom), Box(0, 0, source.width, source.height))
    if area is None:
        return Plane(part, part.width * size, bytes(part.width * part.height * size))
    words = to_words(source, area, destination)
    data, stride = words.data, words.stride
    if size != 4:
        data = bytearray(area.width * area.height * 4)
        layout = SURFACE_LAYOUT[format]
        convert(data, area.width * 4, Layout.BGRA, words.data, words.stride, layout, 0, area.width, area.height)
        stride = area.width * 4
    places = (u - (area.left << 16), v - (area.top << 16), across, 0, 0, down)
    out = sample(part.width, part.height, data, stride, area.width, area.height, 0, places, bilinear, 0)
    high = OPAQUE if opaque and format is SurfaceFormat.ARGB32 and not has_alpha(source) else 0
    if size != 4 or high:
        out = _packed(out, part.width * 4, Layout.BGRA, high, part, format)
    return Plane(part, part.width * size, out)


def _samples(
    source_start: int, source_end: int, box_start: int, box_end: int, start: int, end: int, bilinear: bool
) -> tuple[int, int, int, int]:
    """Where the pixel centres from `start` to `end` of the destination lie in the source.

    Gives the 16.16 coordinate of the first, the step to the next, and which source pixels they need.
    """
    step = (source_end - source_start) * 65536 // (box_end - box_start)
    first = step * (start - box_start) + ((step + 1) >> 1) + (source_start << 16)
    last = first + step * (end - 1 - start)
    if bilinear:
        return first, step, (first - 32768) >> 16, ((last - 32768) >> 16) + 2
    return first, step, (first - 1) >> 16, ((last - 1) >> 16) + 1
