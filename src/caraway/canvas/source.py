"""Sources of drawing in the words of a destination: conversion, scaling, tiles (spec/canvas.md 4, 5)."""

import enum
from dataclasses import dataclass

from caraway.canvas.kernels.convert import bits, convert
from caraway.canvas.kernels.sample import sample
from caraway.canvas.region import Box, PointLike, RectLike, intersect
from caraway.canvas.surface import Surface, pixel_bytes
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
    ALPHA1 = 6


OPAQUE = 0xFF000000

SURFACE_LAYOUT = {
    SurfaceFormat.A1: Layout.ALPHA1,
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


def to_bgra(source: Source, area: Box, *, alpha: bool | None = None) -> Plane:
    """An area of a source as b, g, r, a, premultiplied, at its place in the source; a view if the bitmap is so already.

    alpha: whether the source has any, if that is not for its format to say; a is 255 without.
    Raises CodecError for a bitmap that has no colours.
    """
    layout, high = alpha_layout(source, alpha)
    start = area.top * source.stride + area.left * _pixel_bytes(source)
    view = memoryview(source.data)[start:]
    if isinstance(source, Bitmap) and layout <= Layout.BGRX and not high:
        return Plane(area, source.stride, view)
    out = bytearray(area.width * area.height * 4)
    convert(out, area.width * 4, Layout.BGRA, view, source.stride, layout, high, area.width, area.height)
    return Plane(area, area.width * 4, out)


def alpha_layout(source: Source, alpha: bool | None = None) -> tuple[Layout, int]:
    """The layout of a source, and the bits that are set in its words b, g, r, a: those of a, if it has no alpha.

    alpha, errors: as in `to_bgra`.
    """
    layout = SURFACE_LAYOUT[source.format] if isinstance(source, Surface) else _bitmap_layout(source)
    if alpha is None:
        alpha = layout in (Layout.BGRA, Layout.ALPHA8, Layout.ALPHA1)
    return layout, 0 if alpha else OPAQUE


def _pixel_bytes(source: Source) -> int:
    return source.pixel_bytes if isinstance(source, Surface) else source.format.bits // 8


def _bitmap_layout(source: Bitmap) -> Layout:
    layout = BITMAP_LAYOUT.get(source.format)
    if layout is None:
        raise CodecError(f"{source.format.name} bitmap has no colours to draw")
    return layout


def _converted(source: Bitmap, area: Box, format: SurfaceFormat) -> bytearray:
    """Words of `format`. Images without alpha are opaque on surfaces that have nothing but alpha."""
    layout = _bitmap_layout(source)
    only_alpha = SURFACE_LAYOUT[format] in (Layout.ALPHA8, Layout.ALPHA1)
    high = OPAQUE if source.format is PixelFormat.RGB555_OPAQUE or (only_alpha and not has_alpha(source)) else 0
    start = area.top * source.stride + area.left * _pixel_bytes(source)
    return _packed(memoryview(source.data)[start:], source.stride, layout, high, area, format)


def _packed(data: Buffer, stride: int, layout: Layout, high: int, area: Box, format: SurfaceFormat) -> bytearray:
    target = Layout.BGRA if format is SurfaceFormat.XRGB32 else SURFACE_LAYOUT[format]
    row_bytes = area.width * pixel_bytes(format)
    out = bytearray(area.height * row_bytes)
    convert(out, row_bytes, target, data, stride, layout, high, area.width, area.height)
    return out


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
    """Whether a source that is scaled brings its own alpha: images do, if they have any, and surfaces but for xRGB."""
    if isinstance(source, Surface):
        return source.format is not SurfaceFormat.XRGB32
    return source.format in (PixelFormat.BGRA32, PixelFormat.A8)


def scaled(
    source: Source,
    src_area: RectLike,
    box: RectLike,
    part: Box,
    mode: int,
    destination: Surface,
    *,
    opaque: bool,
    whole_steps: bool = False,
) -> Plane:
    """`part` of `box`, with `src_area` of the source scaled to the size of `box`, in the destination's format.

    opaque: on an ARGB surface, give pixels of a source without alpha a = 255.
    whole_steps: begin at a whole number of the destination's pixels, not exactly at `src_area` (DRAW_ROP3).
    Errors as those of `to_words`.
    """
    bilinear = mode != ScaleMode.NEAREST
    size = destination.pixel_bytes
    places, area = scaling(source, src_area, box, part, bilinear, whole_steps=whole_steps)
    if area is None:
        return Plane(part, part.width * size, bytes(part.width * part.height * size))
    words = to_words(source, area, destination)
    u, v, *steps = places
    places = (u - (area.left << 16), v - (area.top << 16), *steps)
    format = destination.format
    data, stride = words.data, words.stride
    if size != 4:
        stride = area.width * 4
        data = bytearray(area.height * stride)
        layout = SURFACE_LAYOUT[format]
        convert(data, stride, Layout.BGRA, words.data, words.stride, layout, 0, area.width, area.height)
    out = sample(part.width, part.height, data, stride, Layout.BGRA, area.width, area.height, 0, places, bilinear, 0)
    high = OPAQUE if opaque and format is SurfaceFormat.ARGB32 and not has_alpha(source) else 0
    if size != 4 or high:
        out = _packed(out, part.width * 4, Layout.BGRA, high, part, format)
    return Plane(part, part.width * size, out)


Places = tuple[int, ...]
"""Where pixel centres lie in a source: u and v of the first, their steps across and their steps down, in 16.16."""


def scaling(
    source: Source, src_area: RectLike, box: RectLike, part: Box, bilinear: bool, *, whole_steps: bool = False
) -> tuple[Places, Box | None]:
    """Where the pixels of `part` of `box` lie in `src_area`, and which area of it they need, None if nothing."""
    sides = (src_area.left, src_area.right, box.left, box.right, part.left, part.right)
    u, across, left, right = _samples(*sides, bilinear, whole_steps)
    sides = (src_area.top, src_area.bottom, box.top, box.bottom, part.top, part.bottom)
    v, down, top, bottom = _samples(*sides, bilinear, whole_steps)
    area = intersect(Box(left, top, right, bottom), Box(0, 0, source.width, source.height))
    return (u, v, across, 0, 0, down), area


def inside(source: Source, src_area: RectLike, box: RectLike) -> Box:
    """The part of `box` whose nearest pixels, `src_area` scaled to it, lie in the source; perhaps empty."""
    left, right = _inside(src_area.left, src_area.right, box.left, box.right, source.width)
    top, bottom = _inside(src_area.top, src_area.bottom, box.top, box.bottom, source.height)
    return Box(left, top, right, bottom)


def _inside(source_start: int, source_end: int, start: int, end: int, size: int) -> tuple[int, int]:
    first, step, *_ = _samples(source_start, source_end, start, end, start, start + 1, False, False)
    if step == 0:
        return (start, end) if 0 <= (first - 1) >> 16 < size else (start, start)
    return start + -((first - 1) // step), start + -((first - 1 - (size << 16)) // step)


def _samples(
    source_start: int,
    source_end: int,
    box_start: int,
    box_end: int,
    start: int,
    end: int,
    bilinear: bool,
    whole_steps: bool,
) -> tuple[int, int, int, int]:
    """Where the pixel centres from `start` to `end` of the destination lie in the source.

    Gives the 16.16 coordinate of the first, the step to the next, and which source pixels they need.
    """
    step = (source_end - source_start) * 65536 // (box_end - box_start)
    origin = source_start << 16
    if whole_steps:
        origin = step * round(source_start * (box_end - box_start) / (source_end - source_start))
    first = step * (start - box_start) + ((step + 1) >> 1) + origin
    last = first + step * (end - 1 - start)
    if bilinear:
        return first, step, (first - 32768) >> 16, ((last - 32768) >> 16) + 2
    return first, step, (first - 1) >> 16, ((last - 1) >> 16) + 1
