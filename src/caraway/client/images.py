"""From image descriptors to pixels: one display channel's decoder with its palette cache (spec/lz.md 1, 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from caraway.canvas.surface import MAX_PIXELS, Surface
from caraway.client.shared_images import SharedImages
from caraway.codecs import bitmap
from caraway.codecs.bitmap import Bitmap
from caraway.errors import CodecError, ProtocolError
from caraway.wire.messages.images import (
    BitmapFlags,
    BitmapFormat,
    BitmapImage,
    FromCache,
    FromCacheLossless,
    GlzImage,
    Image,
    ImageFlags,
    JpegAlphaImage,
    JpegImage,
    Lz4Image,
    LzImage,
    LzPaletteImage,
    Palette,
    QuicImage,
    SurfaceImage,
    ZlibGlzImage,
)

MAX_PALETTES = 129
"""Palettes that a server keeps at its client: 128, and the one that drives another out, which it says afterwards."""

INLINE_PIXELS = 1 << 20
"""Pixels up to which an image is decoded at once: some milliseconds of the slowest codec, less than a channel's turn. A
larger one is decoded in a worker, so that the loop goes on."""

_BITS = (BitmapFormat.BIT1_LE, BitmapFormat.BIT1_BE)
"""Kept in the cache as they are, with their palette: as a mask the bits count, as a source the colours."""

_CACHED = ImageFlags.CACHE_ME | ImageFlags.CACHE_REPLACE_ME


class ImageDecoder:
    """Decodes the images of one display channel.

    channel: the channel's id. surface: finds the surface of an id, if there is one.
    shared: what the channel shares with the session's other displays.
    """

    def __init__(self, channel: int, surface: Callable[[int], Surface | None], shared: SharedImages) -> None:
        self.shared = shared
        self._channel = channel
        self._surface = surface
        self._palettes: dict[int, list[int]] = {}

    async def decode(self, image: Image, target: Surface, *, is_mask: bool = False) -> Bitmap | Surface | None:
        """The picture of an image that is drawn on `target`.

        is_mask: bits stay bits, whatever palette comes with them.
        None for a surface that is not there, and for a cached picture without bits that is used as a mask.
        Raises CodecError or ProtocolError.
        """
        payload = image.payload
        match payload:
            case SurfaceImage(surface_id=surface_id):
                return self._surface(surface_id)
            case FromCache() | FromCacheLossless():
                lossless = isinstance(payload, FromCacheLossless)
                decoded = await self.shared.cached(image.id, lossless=lossless)
                self._check_size(image, decoded)
                return None if is_mask and decoded.format.bits != 1 else _as_used(decoded, target, is_mask)
        if image.width * image.height > MAX_PIXELS:
            raise CodecError(f"image of {image.width}x{image.height} pixels, limit {MAX_PIXELS} in all")
        is_small = image.width * image.height <= INLINE_PIXELS
        if isinstance(payload, GlzImage):
            decoded = await self.shared.decode_glz(payload.data, self._channel, is_small=is_small)
        elif isinstance(payload, ZlibGlzImage):
            is_short = payload.glz_size <= 4 * INLINE_PIXELS
            data = _inflated(payload) if is_short else await asyncio.to_thread(_inflated, payload)
            decoded = await self.shared.decode_glz(data, self._channel, is_small=is_small)
        else:
            decode = self._decoder(image, target, is_mask)
            decoded = decode() if is_small else await asyncio.to_thread(decode)
        self._check_size(image, decoded)
        if image.flags & ImageFlags.HIGH_BITS_SET:
            decoded = bitmap.with_high_bits(decoded)
        if image.flags & _CACHED:
            self.shared.keep(
                image.id,
                decoded,
                lossy=isinstance(payload, (JpegImage, JpegAlphaImage)),
                replace=bool(image.flags & ImageFlags.CACHE_REPLACE_ME),
            )
        return _as_used(decoded, target, is_mask)

    def decode_into(self, image: Image, rows: memoryview) -> bool:
        """Decode an opaque picture that nothing keeps to memory of 4 bytes a pixel: without the way over a bitmap.

        False if it is no such picture, or so large that `decode` should do it in a worker. Raises CodecError: what is
        in `rows` has no meaning then.
        """
        width, height, payload = image.width, image.height, image.payload
        if image.flags & (_CACHED | ImageFlags.HIGH_BITS_SET) or width * height > INLINE_PIXELS:
            return False
        if isinstance(payload, LzImage):
            from caraway.codecs import lz

            return lz.decode_into(payload.data, rows, width, height)
        if isinstance(payload, QuicImage):
            from caraway.codecs import quic

            return quic.decode_into(payload.data, rows, width, height)
        return False

    def forget_palette(self, unique: int) -> None:
        """INVAL_PALETTE."""
        self._palettes.pop(unique, None)

    def forget_palettes(self) -> None:
        """INVAL_ALL_PALETTES."""
        self._palettes.clear()

    def _check_size(self, image: Image, decoded: Bitmap) -> None:
        if (decoded.width, decoded.height) != (image.width, image.height):
            raise CodecError(
                f"image of {image.width}x{image.height} pixels holds {decoded.width}x{decoded.height} pixels"
            )

    def _decoder(self, image: Image, target: Surface, is_mask: bool) -> Callable[[], Bitmap]:
        """What decodes an image that needs no other one; a codec is imported with its first image."""
        payload, size = image.payload, image.width * image.height
        match payload:
            case BitmapImage():
                palette = self._palette(payload)
                if payload.format in _BITS and (is_mask or image.flags & _CACHED):
                    return lambda: replace(_bits(payload), palette=palette)
                return lambda: bitmap.decode(
                    payload.format,
                    payload.width,
                    payload.height,
                    payload.stride,
                    payload.data,
                    top_down=bool(payload.flags & BitmapFlags.TOP_DOWN),
                    palette=palette,
                    palette_format=target.pixel_format,
                )
            case LzImage():
                from caraway.codecs import lz

                return lambda: lz.decode(payload.data, max_pixels=size)
            case LzPaletteImage():
                from caraway.codecs import lz

                palette = self._palette(payload)
                return lambda: lz.decode(payload.data, palette, palette_format=target.pixel_format, max_pixels=size)
            case QuicImage():
                from caraway.codecs import quic

                return lambda: quic.decode(payload.data, max_pixels=size)
            case JpegImage():
                from caraway.codecs import jpeg

                return lambda: jpeg.decode(payload.data, max_pixels=size)
            case JpegAlphaImage():
                from caraway.codecs import jpeg

                return lambda: jpeg.decode_alpha(
                    payload.data, payload.jpeg_size, top_down=bool(payload.flags & 1), max_pixels=size
                )
            case Lz4Image():
                from caraway.codecs import lz4

                return lambda: lz4.decode(payload.data, image.width, image.height, max_pixels=size)
            case _:
                raise CodecError(f"image of unknown type {type(payload).__name__}")

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
            self._palettes[palette.unique] = palette.entries
            if len(self._palettes) > MAX_PALETTES:
                raise ProtocolError(f"more than {MAX_PALETTES} cached palettes")
        return palette.entries


def _bits(payload: BitmapImage) -> Bitmap:
    return bitmap.decode(
        payload.format,
        payload.width,
        payload.height,
        payload.stride,
        payload.data,
        top_down=bool(payload.flags & BitmapFlags.TOP_DOWN),
    )


def _as_used(decoded: Bitmap, target: Surface, is_mask: bool) -> Bitmap:
    """A picture as a mask or as a source, which gets the colours of its bits."""
    if not is_mask and decoded.format.bits == 1 and decoded.palette:
        return bitmap.from_indices(decoded, target.pixel_format)
    return decoded


def _inflated(payload: ZlibGlzImage) -> bytes:
    from caraway.codecs import glz

    return glz.inflate(payload.data, payload.glz_size)
