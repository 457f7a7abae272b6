"""Runs recorded display messages against the canvas, as a display channel does, but with nothing around it."""

import struct
from typing import Any

from caraway.canvas import blend, composite, raster
from caraway.canvas.region import Box
from caraway.canvas.source import Pattern
from caraway.canvas.stroke import stroke
from caraway.canvas.surface import Surface
from caraway.canvas.text import text
from caraway.codecs import bitmap, lz
from caraway.wire.constants import ChannelType, Sender
from caraway.wire.messages import display, draw, images
from caraway.wire.messages.base import messages


class Drawings:
    """Surfaces, and what messages do to them."""

    def __init__(self) -> None:
        self.surfaces: dict[int, Surface] = {}
        self.cache: dict[int, Any] = {}

    def run(self, stream: bytes) -> None:
        """Process messages, each framed as u16 type, u32 size, body."""
        at = 0
        known = messages(ChannelType.DISPLAY, Sender.SERVER)
        while at < len(stream):
            number, size = struct.unpack_from("<HI", stream, at)
            at += 6 + size
            self.handle(known[number].unpack(stream[at - size : at]))

    def handle(self, message: Any) -> list[Box]:
        """Process one message; gives the damage of a drawing."""
        if isinstance(message, display.SurfaceCreate):
            self.surfaces[message.surface_id] = Surface(message.width, message.height, message.format)
        elif isinstance(message, display.SurfaceDestroy):
            del self.surfaces[message.surface_id]
        elif isinstance(message, draw.Draw):
            return self._draw(message, self.surfaces[message.surface_id])
        return []

    def _draw(self, message: Any, surface: Surface) -> list[Box]:
        where = (surface, message.box, message.clip)
        match message:
            case draw.CopyBits():
                return raster.copy_bits(*where, message.src_pos)
            case draw.DrawFill():
                return raster.fill(*where, self._brush(message.brush, surface), message.rop, self._mask(message.mask))
            case draw.DrawOpaque():
                source = self._image(message.src_bitmap, surface)
                brush = self._brush(message.brush, surface)
                how = (message.rop, message.scale_mode, self._mask(message.mask))
                return raster.opaque(*where, source, message.src_area, brush, *how)
            case draw.DrawCopy() | draw.DrawBlend():
                source = self._image(message.src_bitmap, surface)
                how = (message.rop, message.scale_mode, self._mask(message.mask))
                return raster.copy(*where, source, message.src_area, *how)
            case draw.DrawRop3():
                source = self._image(message.src_bitmap, surface)
                brush = self._brush(message.brush, surface)
                how = (message.rop3, message.scale_mode, self._mask(message.mask))
                return raster.rop3(*where, source, message.src_area, brush, *how)
            case draw.DrawTransparent():
                source = self._image(message.src_bitmap, surface)
                return raster.transparent(*where, source, message.src_area, message.true_color)
            case draw.DrawAlphaBlend():
                source = self._image(message.src_bitmap, surface)
                return blend.alpha_blend(*where, source, message.src_area, message.alpha, message.alpha_flags)
            case draw.DrawComposite():
                source = self._image(message.src_bitmap, surface)
                mask = message.mask_bitmap and self._image(message.mask_bitmap, surface)
                transforms = (message.src_transform, message.mask_transform)
                origins = (message.src_origin, message.mask_origin)
                return composite.composite(*where, message.flags, source, mask, *transforms, *origins)
            case draw.DrawBlackness():
                return raster.blackness(*where, self._mask(message.mask))
            case draw.DrawWhiteness():
                return raster.whiteness(*where, self._mask(message.mask))
            case draw.DrawInvers():
                return raster.invers(*where, self._mask(message.mask))
            case draw.DrawStroke():
                brush = self._brush(message.brush, surface)
                return stroke(*where, message.path, message.attr, brush, message.fore_mode)
            case draw.DrawText():
                brushes = (self._brush(message.fore_brush, surface), self._brush(message.back_brush, surface))
                return text(*where, message.string, message.back_area, *brushes)
        raise NotImplementedError(message.wire_name())

    def _mask(self, mask: images.QMask) -> raster.Mask | None:
        if mask.bitmap is None:
            return None
        picture = self._image(mask.bitmap, None)
        return raster.Mask(picture, mask.pos, bool(mask.flags & images.MaskFlags.INVERS))

    def _brush(self, brush: Any, surface: Surface) -> int | Pattern | None:
        if isinstance(brush, images.SolidBrush):
            return brush.color
        if isinstance(brush, images.PatternBrush):
            return Pattern(self._image(brush.pattern, surface), brush.pos)
        return None

    def _image(self, image: images.Image, surface: Surface | None) -> bitmap.Bitmap | Surface:
        payload = image.payload
        if isinstance(payload, images.SurfaceImage):
            return self.surfaces[payload.surface_id]
        if isinstance(payload, images.FromCache | images.FromCacheLossless):
            return self.cache[image.id]
        words = surface.pixel_format if surface else bitmap.PixelFormat.BGRX32
        palette = getattr(payload, "palette", None)
        entries = palette.entries if palette else None
        if isinstance(payload, images.BitmapImage):
            top_down = bool(payload.flags & images.BitmapFlags.TOP_DOWN)
            size = (payload.width, payload.height, payload.stride, payload.data)
            picture = bitmap.decode(payload.format, *size, top_down=top_down, palette=entries, palette_format=words)
        else:
            picture = lz.decode(payload.data, entries, palette_format=words)
        if image.flags & images.ImageFlags.HIGH_BITS_SET:
            picture = bitmap.with_high_bits(picture)
        if image.flags & images.ImageFlags.CACHE_ME:
            self.cache[image.id] = picture
        return picture
