"""A piece of a picture becomes an image: which codec for which pixels (spec/lz.md 1.1, spec/kernels.md).

A function of the pixels and of what a viewer can take, but for GLZ, which also looks back at a viewer's own dictionary.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from caraway.canvas.kernels.look import equal_neighbours, only_word
from caraway.codecs import glz, jpeg, lz, lz4, pixels, quic
from caraway.codecs.bitmap import Bitmap
from caraway.wire.messages.display import ImageCompression
from caraway.wire.messages.images import (
    BitmapFlags,
    BitmapFormat,
    BitmapImage,
    GlzImage,
    ImagePayload,
    JpegImage,
    Lz4Image,
    LzImage,
    QuicImage,
    ZlibGlzImage,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from caraway.codecs.glz import Dictionary

_SMALLEST = 54
"""Bytes of pixels below which nothing is compressed."""
_SMALLEST_TO_DEFLATE = 100
"""Bytes of GLZ below which nothing is gained by zlib."""
_SMALLEST_QUIC_SIDE = 3
_SMALLEST_JPEG = 32 * 32
"""Pixels below which a JPEG's tables are most of it."""

_FLAT = 0.55
"""Share of pixels that equal their left neighbour, above which LZ is smaller than QUIC."""
_SAMPLED_ROWS = 32


_PLAIN = {ImageCompression.AUTO_GLZ: ImageCompression.AUTO_LZ, ImageCompression.GLZ: ImageCompression.LZ}


class Settings(NamedTuple):
    """What a viewer gets. Equal settings and equal pixels give equal images, unless a dictionary is used."""

    compression: ImageCompression
    lz4: bool = False
    """The viewer can decode LZ4."""
    lossy: bool = False
    """JPEG where pixels are like those of a photo."""
    zlib: bool = False
    """Deflate GLZ."""

    @property
    def uses_dictionary(self) -> bool:
        """Whether images may be GLZ."""
        return self.compression in (ImageCompression.AUTO_GLZ, ImageCompression.GLZ)

    def shareable(self) -> Settings:
        """The same without a dictionary."""
        return Settings(_PLAIN.get(self.compression, self.compression), self.lz4, self.lossy)


class Codec(enum.Enum):
    """How an image is coded."""

    RAW = enum.auto()
    QUIC = enum.auto()
    LZ = enum.auto()
    GLZ = enum.auto()
    LZ4 = enum.auto()
    JPEG = enum.auto()


def choose(picture: Bitmap, settings: Settings) -> Codec:
    """The codec for a BGRX32 picture."""
    if picture.width * picture.height * 4 < _SMALLEST or settings.compression is ImageCompression.OFF:
        return Codec.RAW
    compression = settings.compression
    can_quic = min(picture.width, picture.height) >= _SMALLEST_QUIC_SIDE
    if compression is ImageCompression.QUIC:
        codec = Codec.QUIC if can_quic else Codec.RAW
    elif compression in (ImageCompression.AUTO_GLZ, ImageCompression.AUTO_LZ) and can_quic and is_gradual(picture):
        codec = Codec.QUIC
    elif compression is ImageCompression.LZ4 and settings.lz4:
        codec = Codec.LZ4
    else:
        codec = Codec.GLZ if settings.uses_dictionary else Codec.LZ
    if codec is Codec.QUIC and settings.lossy and picture.width * picture.height >= _SMALLEST_JPEG:
        return Codec.JPEG
    return codec


def encode(picture: Bitmap, codec: Codec, settings: Settings, dictionary: Dictionary | None = None) -> ImagePayload:
    """A BGRX32 picture as the payload of an image: of this codec, or raw where that is no larger.

    dictionary: the viewer's; without one GLZ becomes LZ. What is encoded with it must be sent.
    """
    if codec is Codec.GLZ:
        if dictionary is not None and dictionary.fits(picture):
            return _glz(picture, settings, dictionary)
        codec = Codec.LZ
    if codec is not Codec.RAW:
        payload, code = _ENCODERS[codec]
        data = code(picture)
        if len(data) < picture.width * picture.height * 4:
            return payload(data)
    return _raw(picture)


def is_gradual(picture: Bitmap) -> bool:
    """Whether pixels are like those of a photo: few equal their left neighbour."""
    equal, pairs = equal_neighbours(words(picture), max(1, picture.height // _SAMPLED_ROWS))
    return equal <= _FLAT * pairs


def solid_color(picture: Bitmap) -> int | None:
    """The colour of a picture that has only one, 0x00RRGGBB."""
    word = only_word(words(picture))
    return None if word is None else word & 0xFFFFFF


def words(picture: Bitmap) -> NDArray[np.uint32]:
    """The pixels of a picture as an array of words, a view."""
    import numpy as np

    return np.ndarray((picture.height, picture.width), "<u4", picture.data, strides=(picture.stride, 4))


def _glz(picture: Bitmap, settings: Settings, dictionary: Dictionary) -> ImagePayload:
    payload = dictionary.encode(picture)
    if settings.zlib and len(payload) >= _SMALLEST_TO_DEFLATE:
        deflated = glz.deflate(payload)
        if len(deflated) < len(payload):
            return ZlibGlzImage(len(payload), deflated)
    return GlzImage(payload)


def _raw(picture: Bitmap) -> BitmapImage:
    width, height = picture.width, picture.height
    rows = pixels.packed_rows(picture.data, picture.stride, 4 * width, height, flip=False)
    return BitmapImage(BitmapFormat.BIT32, BitmapFlags.TOP_DOWN, width, height, 4 * width, None, None, rows)


_ENCODERS: dict[Codec, tuple[Callable[[bytes], ImagePayload], Callable[[Bitmap], bytes]]] = {
    Codec.QUIC: (QuicImage, quic.encode),
    Codec.LZ: (LzImage, lz.encode),
    Codec.LZ4: (Lz4Image, lz4.encode),
    Codec.JPEG: (JpegImage, jpeg.encode),
}
