"""From image descriptors to pixels: a display channel's decoder with its palette cache (spec/lz.md 1, 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from caraway.canvas.surface import MAX_PIXELS, Surface
from caraway.codecs import bitmap, lz
from caraway.codecs.bitmap import Bitmap
from caraway.errors import CodecError, ProtocolError
from caraway.wire.fields import Buffer
from caraway.wire.messages.images import (
    BitmapFlags,
    BitmapImage,
    Image,
    ImageFlags,
    LzImage,
    LzPaletteImage,
    Palette,
    SurfaceImage,
)

PALETTE_CACHE_SIZE = 128
"""Palettes that a server keeps at its client at once."""

INLINE_PIXELS = 1 << 17
INLINE_BYTES = 8 << 10
"""Pixels and payload up to which an image is decoded at once, in 2 ms at most. A full redraw comes in many pieces of
that size; for each of them the way to a worker and back takes longer. A larger one is decoded there, so that the loop
goes on."""


class ImageDecoder:
    """Decodes the images of one display channel.

    surface: finds the surface of an id; raises ProtocolError if there is none.
    """

    def __init__(self, surface: Callable[[int], Surface]) -> None:
        self._surface = surface
        self._palettes: dict[int, list[int]] = {}

    async def decode(self, image: Image, target: Surface) -> Bitmap | Surface:
        """The picture of an image that is drawn on `target`. Raises CodecError or ProtocolError."""
        payload = image.payload
        match payload:
            case SurfaceImage(surface_id=surface_id):
                return self._surface(surface_id)
            case BitmapImage():
                decoded = self._raw(payload, target)
            case LzImage():
                decoded = await self._lz(image, payload.data, None, target)
            case LzPaletteImage():
                decoded = await self._lz(image, payload.data, self._palette(payload), target)
            case _:
                raise CodecError(f"image of type {type(payload).__name__}, which this client did not ask for")
        if (decoded.width, decoded.height) != (image.width, image.height):
            raise CodecError(
                f"image of {image.width}x{image.height} pixels holds {decoded.width}x{decoded.height} pixels"
            )
        return bitmap.with_high_bits(decoded) if image.flags & ImageFlags.HIGH_BITS_SET else decoded

    def forget_palette(self, unique: int) -> None:
        """INVAL_PALETTE."""
        self._palettes.pop(unique, None)

    def forget_palettes(self) -> None:
        """INVAL_ALL_PALETTES."""
        self._palettes.clear()

    def _raw(self, payload: BitmapImage, target: Surface) -> Bitmap:
        return bitmap.decode(
            payload.format,
            payload.width,
            payload.height,
            payload.stride,
            payload.data,
            top_down=bool(payload.flags & BitmapFlags.TOP_DOWN),
            palette=self._palette(payload),
            palette_format=target.pixel_format,
        )

    async def _lz(self, image: Image, data: Buffer, palette: Sequence[int] | None, target: Surface) -> Bitmap:
        if image.width * image.height > MAX_PIXELS:
            raise CodecError(f"image of {image.width}x{image.height} pixels, limit {MAX_PIXELS} in all")

        def decode() -> Bitmap:
            return lz.decode(data, palette, palette_format=target.pixel_format, max_pixels=image.width * image.height)

        if len(data) <= INLINE_BYTES and image.width * image.height <= INLINE_PIXELS:
            return decode()
        return await asyncio.to_thread(decode)

    def _palette(self, payload: BitmapImage | LzPaletteImage) -> list[int] | None:
        if payload.palette_id is not None:
            try:
                return self._palettes[payload.palette_id]
            except KeyError:
                raise ProtocolError(f"palette {payload.palette_id:#x} is not in the cache") from None
        palette: Palette | None = payload.palette
        if palette is None:
            return None
        if payload.flags & BitmapFlags.PAL_CACHE_ME and palette.unique:
            if len(self._palettes) >= PALETTE_CACHE_SIZE and palette.unique not in self._palettes:
                raise ProtocolError(f"more than {PALETTE_CACHE_SIZE} cached palettes")
            self._palettes[palette.unique] = palette.entries
        return palette.entries
