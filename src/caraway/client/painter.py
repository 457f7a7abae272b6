"""Drawing messages carried out: images decoded, brushes and masks made, the canvas called (spec/canvas.md).

Images are decoded even where nothing is drawn, such as on a surface that is gone: caches and windows count on them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from caraway.canvas import blend, raster
from caraway.canvas.region import Box, RectLike, intersect
from caraway.canvas.rop import OP_PUT
from caraway.canvas.source import Brush, Pattern
from caraway.canvas.surface import Surface
from caraway.client.images import ImageDecoder
from caraway.client.surfaces import Surfaces
from caraway.codecs.bitmap import Bitmap
from caraway.errors import CodecError
from caraway.wire.messages.display import SurfaceFormat
from caraway.wire.messages.draw import (
    CopyBits,
    Draw,
    DrawAlphaBlend,
    DrawBlackness,
    DrawBlend,
    DrawComposite,
    DrawCopy,
    DrawFill,
    DrawInvers,
    DrawOpaque,
    DrawRop3,
    DrawStroke,
    DrawText,
    DrawTransparent,
    DrawWhiteness,
)
from caraway.wire.messages.images import Image, MaskFlags, NoBrush, PatternBrush, QMask, SolidBrush

log = logging.getLogger(__name__)

INLINE_PIXELS = 1 << 20
INLINE_PIXELS_IF_SLOW = 1 << 17
"""Pixels up to which a drawing is done at once, in some milliseconds at most; a larger one in a worker. Slow is what
scales or looks at alpha: 10 to 70 ns a pixel, others take 1."""

Drawing = Callable[[], list[Box]]


async def carry_out(draw: Drawing, box: RectLike, surface: Surface, *, is_slow: bool) -> Sequence[Box]:
    """Draw in a box of a surface: in a worker, if that may take more than some milliseconds."""
    drawn = intersect(box, surface.bounds)
    if drawn is None:
        return ()
    if drawn.width * drawn.height <= (INLINE_PIXELS_IF_SLOW if is_slow else INLINE_PIXELS):
        return draw()
    return await asyncio.to_thread(draw)


class SpoiltError(CodecError):
    """A damaged image has been decoded to a surface in part: its pixels are not to be seen."""


class Painter:
    """Draws on the surfaces of one display channel."""

    def __init__(self, surfaces: Surfaces, images: ImageDecoder) -> None:
        self._surfaces = surfaces
        self._images = images
        self._is_complete = True
        """Whether all that the drawing of now needs is there."""

    async def paint(self, message: Draw) -> Sequence[Box]:
        """Carry out a drawing message; gives what it may have changed of its surface.

        One with a surface that is not there draws nothing.
        Raises ProtocolError or CodecError.
        """
        surface = self._surfaces.get(message.surface_id)
        self._is_complete = surface is not None
        prepare = _OPERATIONS[type(message)]
        draw = await prepare(self, message, surface or Surface(1, 1, SurfaceFormat.XRGB32))
        if draw is None:
            return ()
        if surface is None or not self._is_complete:
            log.debug("surface %d: %s needs what is not there, skipped", message.surface_id, message.wire_name())
            return ()
        return await carry_out(draw, message.box, surface, is_slow=_is_slow(message))

    async def _copy(self, message: DrawCopy | DrawBlend, surface: Surface) -> Drawing | None:
        if self._fill_rows(message, surface):
            return lambda: [Box(0, message.box.top, surface.width, message.box.bottom)]
        source = await self._source(message.src_bitmap, surface)
        mask = await self._mask(message.mask, surface)
        if source is None:
            return None
        return lambda: raster.copy(
            surface, message.box, message.clip, source, message.src_area, message.rop, message.scale_mode, mask
        )

    def _fill_rows(self, message: DrawCopy | DrawBlend, surface: Surface) -> bool:
        """Decode a picture that is whole rows of the surface where it belongs; False if it is not."""
        image, box, area = message.src_bitmap, message.box, message.src_area
        if image is None or message.clip is not None or message.rop != OP_PUT or message.mask.bitmap is not None:
            return False
        if surface.pixel_bytes != 4 or not 0 <= box.top < box.bottom <= surface.height:
            return False
        if not (box.left == area.left == area.top == 0 and box.right == area.right == image.width == surface.width):
            return False
        if not box.bottom - box.top == area.bottom == image.height:
            return False
        try:
            return self._images.decode_into(image, surface.view[box.top * surface.stride : box.bottom * surface.stride])
        except CodecError as error:
            raise SpoiltError(str(error)) from None

    async def _fill(self, message: DrawFill, surface: Surface) -> Drawing:
        brush = await self._brush(message.brush, surface)
        mask = await self._mask(message.mask, surface)
        return lambda: raster.fill(surface, message.box, message.clip, brush, message.rop, mask)

    async def _opaque(self, message: DrawOpaque, surface: Surface) -> Drawing | None:
        source = await self._source(message.src_bitmap, surface)
        brush = await self._brush(message.brush, surface)
        mask = await self._mask(message.mask, surface)
        if source is None:
            return None
        return lambda: raster.opaque(
            surface,
            message.box,
            message.clip,
            source,
            message.src_area,
            brush,
            message.rop,
            message.scale_mode,
            mask,
        )

    async def _rop3(self, message: DrawRop3, surface: Surface) -> Drawing | None:
        source = await self._source(message.src_bitmap, surface)
        brush = await self._brush(message.brush, surface)
        mask = await self._mask(message.mask, surface)
        if source is None:
            return None
        return lambda: raster.rop3(
            surface,
            message.box,
            message.clip,
            source,
            message.src_area,
            brush,
            message.rop3,
            message.scale_mode,
            mask,
        )

    async def _transparent(self, message: DrawTransparent, surface: Surface) -> Drawing | None:
        source = await self._source(message.src_bitmap, surface)
        if source is None:
            return None
        return lambda: raster.transparent(
            surface, message.box, message.clip, source, message.src_area, message.true_color
        )

    async def _alpha_blend(self, message: DrawAlphaBlend, surface: Surface) -> Drawing | None:
        source = await self._source(message.src_bitmap, surface)
        if source is None:
            return None
        return lambda: blend.alpha_blend(
            surface, message.box, message.clip, source, message.src_area, message.alpha, message.alpha_flags
        )

    async def _composite(self, message: DrawComposite, surface: Surface) -> Drawing | None:
        from caraway.canvas.composite import composite

        source = await self._source(message.src_bitmap, surface)
        mask = await self._source(message.mask_bitmap, surface)
        if source is None:
            return None
        return lambda: composite(
            surface,
            message.box,
            message.clip,
            message.flags,
            source,
            mask,
            message.src_transform,
            message.mask_transform,
            message.src_origin,
            message.mask_origin,
        )

    async def _stroke(self, message: DrawStroke, surface: Surface) -> Drawing:
        from caraway.canvas.stroke import stroke

        brush = await self._brush(message.brush, surface)
        return lambda: stroke(surface, message.box, message.clip, message.path, message.attr, brush, message.fore_mode)

    async def _text(self, message: DrawText, surface: Surface) -> Drawing:
        from caraway.canvas.text import text

        fore_brush = await self._brush(message.fore_brush, surface)
        back_brush = await self._brush(message.back_brush, surface)
        return lambda: text(
            surface, message.box, message.clip, message.string, message.back_area, fore_brush, back_brush
        )

    async def _blackness(self, message: DrawBlackness, surface: Surface) -> Drawing:
        mask = await self._mask(message.mask, surface)
        return lambda: raster.blackness(surface, message.box, message.clip, mask)

    async def _whiteness(self, message: DrawWhiteness, surface: Surface) -> Drawing:
        mask = await self._mask(message.mask, surface)
        return lambda: raster.whiteness(surface, message.box, message.clip, mask)

    async def _invers(self, message: DrawInvers, surface: Surface) -> Drawing:
        mask = await self._mask(message.mask, surface)
        return lambda: raster.invers(surface, message.box, message.clip, mask)

    async def _copy_bits(self, message: CopyBits, surface: Surface) -> Drawing:
        return lambda: raster.copy_bits(surface, message.box, message.clip, message.src_pos)

    async def _source(self, image: Image | None, surface: Surface) -> Bitmap | Surface | None:
        return None if image is None else await self._decode(image, surface)

    async def _brush(self, brush: NoBrush | SolidBrush | PatternBrush, surface: Surface) -> Brush:
        match brush:
            case SolidBrush(color=color):
                return color
            case PatternBrush(pattern=pattern, pos=pos):
                return Pattern(await self._decode(pattern, surface), pos)
            case _:
                return None

    async def _mask(self, mask: QMask, surface: Surface) -> raster.Mask | None:
        if mask.bitmap is None:
            return None
        decoded = await self._images.decode(mask.bitmap, surface, is_mask=True)
        if decoded is None:
            self._is_complete = False
            return None
        return raster.Mask(decoded, mask.pos, bool(mask.flags & MaskFlags.INVERS))

    async def _decode(self, image: Image, surface: Surface) -> Bitmap | Surface:
        decoded = await self._images.decode(image, surface)
        if decoded is None:
            self._is_complete = False
            return surface
        return decoded


def _is_slow(message: Draw) -> bool:
    if isinstance(message, (DrawComposite, DrawAlphaBlend, DrawText, DrawStroke)):
        return True
    area = getattr(message, "src_area", None)
    return area is not None and not raster.is_same_size(message.box, area)


_OPERATIONS: dict[type[Draw], Callable[[Painter, Any, Surface], Awaitable[Drawing | None]]] = {
    CopyBits: Painter._copy_bits,
    DrawFill: Painter._fill,
    DrawOpaque: Painter._opaque,
    DrawCopy: Painter._copy,
    DrawBlend: Painter._copy,
    DrawBlackness: Painter._blackness,
    DrawWhiteness: Painter._whiteness,
    DrawInvers: Painter._invers,
    DrawStroke: Painter._stroke,
    DrawText: Painter._text,
    DrawRop3: Painter._rop3,
    DrawTransparent: Painter._transparent,
    DrawAlphaBlend: Painter._alpha_blend,
    DrawComposite: Painter._composite,
}
DRAWINGS = tuple(_OPERATIONS)
"""The messages that a painter carries out."""
