"""The GLZ codec (spec/lz.md 3, 4): LZ whose matches may also lie in earlier images, of a window that both sides keep.

A `Window` belongs to a client and is shared by its display channels, as is the server's `Dictionary` of that client.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple, NoReturn

from caraway.codecs import pixels
from caraway.codecs.bitmap import Bitmap, PixelFormat, check_size, from_indices
from caraway.codecs.kernels import glz_decode, glz_encode
from caraway.codecs.lz import MAGIC, VERSION, LzType
from caraway.codecs.pixels import Buffer
from caraway.errors import CarawayError, CodecError

MAX_WINDOW_PIXELS = 1 << 25
"""A larger window is refused by servers."""

_HEADER = struct.Struct(">2IB3IQI")
_TOP_DOWN = 16
_MOST_UNITS_OF_A_BYTE = 255
"""A byte of a payload stands for no more: the length of a long match."""
_PAYLOAD_LIMIT = 5 * MAX_WINDOW_PIXELS
"""Bytes of a payload: an encoder never needs as many as 5 for a pixel."""

_MOST_IMAGES = 1 << 19
"""Of a dictionary. Half as many as a `Window` takes."""


class _Coding(NamedTuple):
    """How pictures of a type are coded."""

    type: LzType
    layout: PixelFormat
    """Of a picture that becomes this type."""
    literal: int
    """Bytes of a literal unit; 1 for indices."""
    per_unit: int
    """Pixels of a unit."""
    alpha: bool
    """A second stream follows."""


# By plain numbers: looking up a member of an enumeration takes longer than decoding a small image.
_CODINGS = {
    coding.type.value: coding
    for coding in (
        _Coding(LzType.PLT1_LE, PixelFormat.BIT1_LE, 1, 8, False),
        _Coding(LzType.PLT1_BE, PixelFormat.BIT1_BE, 1, 8, False),
        _Coding(LzType.PLT4_LE, PixelFormat.INDEX4_LE, 1, 2, False),
        _Coding(LzType.PLT4_BE, PixelFormat.INDEX4_BE, 1, 2, False),
        _Coding(LzType.PLT8, PixelFormat.INDEX8, 1, 1, False),
        _Coding(LzType.RGB16, PixelFormat.RGB555, 2, 1, False),
        _Coding(LzType.RGB24, PixelFormat.BGR24, 3, 1, False),
        _Coding(LzType.RGB32, PixelFormat.BGRX32, 3, 1, False),
        _Coding(LzType.RGBA, PixelFormat.BGRA32, 3, 1, True),
    )
}
_CODING_OF = {coding.layout: coding for coding in _CODINGS.values()}
_CODING_OF[PixelFormat.RGB555_OPAQUE] = _CODING_OF[PixelFormat.RGB555]


class ImagePendingError(CarawayError):
    """An image cannot be decoded before image `image_id`, of another display channel, is in the window: try again then.

    channel: the display channel that must wait.
    """

    def __init__(self, image_id: int, channel: int, text: str) -> None:
        super().__init__(text)
        self.image_id = image_id
        self.channel = channel


class _Header(NamedTuple):
    coding: _Coding
    top_down: bool
    width: int
    height: int
    row: int
    """Pixels from a row to the next."""
    id: int
    head_distance: int
    """`win_head_dist`: how far back the oldest image is that this one may refer to."""


def _read_header(data: Buffer) -> _Header:
    if len(data) < _HEADER.size:
        raise CodecError(f"GLZ: header needs {_HEADER.size} bytes, got {len(data)}")
    magic, version, flags, width, height, stride, id, head_distance = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise CodecError(f"GLZ: magic {magic:#x}, version {version:#x}")
    coding = _CODINGS.get(flags & ~_TOP_DOWN)
    if coding is None:
        raise CodecError(f"GLZ: unknown type {flags}")
    check_size(width, height)
    row = stride * coding.per_unit if coding.literal == 1 else width
    if not width <= row < width + 2 * coding.per_unit:
        raise CodecError(f"GLZ: {coding.type.name} row of {width} pixels in {stride} bytes")
    if row * height > _MOST_UNITS_OF_A_BYTE * coding.per_unit * (len(data) - _HEADER.size):
        raise CodecError(f"GLZ: image of {width}x{height} pixels in {len(data)} bytes")
    if head_distance > id:
        raise CodecError(f"GLZ: image {id} with a window of {head_distance} images before it")
    return _Header(coding, flags >= _TOP_DOWN, width, height, row, id, head_distance)


class Window:
    """The images that a client keeps because later ones may refer to them (spec/lz.md 3.4). One call at a time.

    window_pixels: as announced to the server. No image may have more; all images together may have twice as many before
    a channel must wait for the oldest gap to be filled, and four times as many in any case.
    channels: how many display channels share the window. Set it before a further channel is linked, and when one is
    gone. With one, nothing brings images that are missing: a reference to one is an error, a gap is a gap for ever.
    tail_gap: smallest id that has not arrived; None before the first image.
    """

    def __init__(self, window_pixels: int = 1 << 24, *, channels: int = 1) -> None:
        if not 0 < window_pixels <= MAX_WINDOW_PIXELS:
            raise ValueError(f"GLZ window of {window_pixels} pixels, limit {MAX_WINDOW_PIXELS}")
        self.window_pixels = window_pixels
        self.channels = channels
        self.clear()

    def clear(self) -> None:
        """Forget everything: on a new connection, but not in a seamless migration (ids then go on)."""
        self.tail_gap: int | None = None
        self._start = self._oldest = 0
        self._images = glz_decode.Window()
        self._held: dict[int, tuple[int, int]] = {}
        self._held_pixels = 0
        self._suspended: dict[int, tuple[int, int]] = {}
        # Ids that came, from the first to before the end, behind a gap that was not known of then; the lowest last.
        self._islands: list[tuple[int, int]] = []

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._held

    def __len__(self) -> int:
        return len(self._held)

    def decode(self, data: Buffer, channel: int = 0, *, palette: Sequence[int] | None = None) -> Bitmap:
        """Decode a GLZ payload and keep its image. Every image must be decoded, also one that is not to be seen.

        channel: id of the display channel that it came on. palette: 0x00RRGGBB words, for indexed types.
        Returns a top-down bitmap, BGRA32 (RGBA) or BGRX32 (all others), whose pixels the window shares.
        Raises ImagePendingError if an image of another channel must come first: nothing has changed then, and while
        that image is not there another try costs next to nothing. Raises CodecError if the payload is corrupt, its id
        came before, it refers to an image that is gone, or the window would become too large.
        """
        header = _read_header(data)
        start, tail_gap = self._frontier(header)
        suspended, awaited = self._suspended.pop(channel, (-1, -1))
        if suspended == header.id and awaited >= tail_gap and awaited not in self._held:
            self._wait(header.id, awaited, channel, tail_gap)
        self._check_room(header, channel, tail_gap)
        coding = header.coding
        units = header.row * header.height // coding.per_unit
        colours = _colours(coding, palette) if coding.literal == 1 else b""
        try:
            decoded = self._images.decode(
                data, _HEADER.size, header.id, units, coding.literal, coding.alpha, coding.per_unit, colours
            )
        except KeyError as missing:
            self._wait(header.id, missing.args[0], channel, tail_gap)
        except ValueError as error:
            raise CodecError(f"GLZ: image {header.id}: {error}") from None
        self._keep(header, decoded, start, tail_gap)
        stride = header.row * 4
        rows = pixels.packed_rows(decoded, stride, stride, header.height, flip=not header.top_down)
        layout = PixelFormat.BGRA32 if coding.alpha else PixelFormat.BGRX32
        return Bitmap(header.width, header.height, layout, stride, rows)

    def _frontier(self, header: _Header) -> tuple[int, int]:
        """The first id that counts, and the smallest one that has not arrived, now that this image is here.

        Ids need not start at 0. What the first image may refer to must have been before it; so must what an image
        before that may refer to.
        """
        start, tail_gap = self._start, self.tail_gap
        if tail_gap is None or (header.id < start and self.channels > 1):
            start = tail_gap = header.id - header.head_distance
        if header.id in self._held or self._came(header.id, tail_gap):
            raise CodecError(f"GLZ: image {header.id} came before")
        return start, header.id if self.channels < 2 else tail_gap

    def _came(self, id: int, tail_gap: int) -> bool:
        """Whether an image that is not held came and is gone."""
        return id < tail_gap or any(first <= id < end for first, end in self._islands)

    def _wait(self, id: int, missing: int, channel: int, tail_gap: int) -> NoReturn:
        if missing > id:
            raise CodecError(f"GLZ: image {id} refers to {(id - missing) % (1 << 64)} images before it")
        if self.channels < 2:
            raise CodecError(f"GLZ: image {id} refers to image {missing}, which is not there: nothing else brings it")
        if self._came(missing, tail_gap):
            raise CodecError(f"GLZ: image {id} refers to image {missing}, which is gone")
        self._suspended[channel] = id, missing
        raise ImagePendingError(missing, channel, f"GLZ: image {id} of display {channel} waits for image {missing}")

    def _check_room(self, header: _Header, channel: int, tail_gap: int) -> None:
        size = header.row * header.height
        if size > self.window_pixels:
            raise CodecError(f"GLZ: image of {size} pixels for a window of {self.window_pixels}")
        needed = self._held_pixels + size
        if needed > 2 * self.window_pixels and header.id != tail_gap and self.channels > 1:
            self._wait(header.id, tail_gap, channel, tail_gap)
        if needed > 4 * self.window_pixels:
            raise CodecError(f"GLZ: {needed} pixels of images that nothing releases, window of {self.window_pixels}")

    def _keep(self, header: _Header, decoded: bytes, start: int, tail_gap: int) -> None:
        """Add an image and release what no later one can refer to."""
        if not self._images.put(header.id, decoded):
            raise CodecError(f"GLZ: image {header.id}: ids too far apart, or too many images")
        if self.tail_gap is None or start < self._start:
            self._oldest = start
            if self.tail_gap is not None:
                self._islands.append((self._start, self.tail_gap))
        self._held[header.id] = header.head_distance, len(decoded) // 4
        self._held_pixels += len(decoded) // 4
        while tail_gap in self._held:
            tail_gap += 1
            if self._islands and tail_gap == self._islands[-1][0]:
                tail_gap = self._islands.pop()[1]
        self._start, self.tail_gap = start, tail_gap
        last = tail_gap - 1
        if last in self._held:
            head = last - self._held[last][0]
            if head > self._oldest:
                self._release(head)

    def _release(self, head: int) -> None:
        """Drop the images before `head`."""
        few = head - self._oldest <= len(self._held)
        ids: Iterable[int] = range(self._oldest, head) if few else [id for id in self._held if id < head]
        for id in ids:
            if id in self._held:
                self._images.drop(id)
                self._held_pixels -= self._held.pop(id)[1]
        self._oldest = head


def _colours(coding: _Coding, palette: Sequence[int] | None) -> bytes:
    """The pixels of each byte of indices."""
    every = Bitmap(coding.per_unit, 256, coding.layout, 1, bytes(range(256)), palette)
    return bytes(from_indices(every).data)


class Dictionary:
    """The images that a server may refer to: those of the window of one client (spec/lz.md 3.5). One call at a time.

    All display channels of the client share it; each sends its images in the order of their ids.
    window_pixels: as the client announced. next_id: of the first image, where another server had the client before.
    """

    def __init__(self, window_pixels: int, *, next_id: int = 0) -> None:
        if not 0 < window_pixels <= MAX_WINDOW_PIXELS:
            raise ValueError(f"GLZ window of {window_pixels} pixels, limit {MAX_WINDOW_PIXELS}")
        self.window_pixels = window_pixels
        self.next_id = self._head = next_id
        self._images = glz_encode.Dictionary()
        self._sizes: dict[int, int] = {}
        self._held_pixels = 0

    def fits(self, bitmap: Bitmap) -> bool:
        """Whether a picture can be encoded: its format has a type, and it is smaller than the window."""
        coding = _CODING_OF.get(bitmap.format)
        return coding is not None and _padded_width(bitmap, coding) * bitmap.height < self.window_pixels

    def encode(self, bitmap: Bitmap, *, top_down: bool = True) -> bytes:
        """Encode a picture as image `next_id`, which the window then holds: it must be sent.

        top_down: False codes the bottom row first.
        Any decoder gives the same pixels back; the bytes differ from those of deployed encoders.
        Raises CodecError for a picture that does not fit.
        """
        layout, height = bitmap.format, bitmap.height
        coding = _CODING_OF.get(layout)
        if coding is None:
            raise CodecError(f"GLZ: no type for {layout.name} pictures")
        size = _padded_width(bitmap, coding) * height
        if size >= self.window_pixels:
            raise CodecError(f"GLZ: {bitmap.width}x{height} pixels for a window of {self.window_pixels}")
        id, head = self.next_id, self._make_room(size)
        row_bytes = layout.row_bytes(bitmap.width)
        rows = pixels.packed_rows(bitmap.data, bitmap.stride, row_bytes, height, flip=not top_down)
        if layout is PixelFormat.BGR24:
            rows = pixels.bgrx_from_bgr(rows)
        self._sizes[id] = size
        self._held_pixels += size
        self.next_id = id + 1
        flags = coding.type | (_TOP_DOWN if top_down else 0)
        header = _HEADER.pack(MAGIC, VERSION, flags, bitmap.width, height, row_bytes, id, id - head)
        width = 4 if coding.literal == 3 else coding.literal
        return header + self._images.encode(rows, id, head, coding.type, width, coding.alpha)

    def release(self, image_id: int) -> None:
        """Refer to this image no more. It still counts, as the client keeps it. Unknown ids do not matter."""
        if image_id in self._images:
            self._images.drop(image_id)

    def _make_room(self, size: int) -> int:
        """Drop images from the head of the window until there is room. Gives the new head."""
        while self._held_pixels + size > self.window_pixels or len(self._sizes) == _MOST_IMAGES:
            self.release(self._head)
            self._held_pixels -= self._sizes.pop(self._head)
            self._head += 1
        return self._head


def _padded_width(bitmap: Bitmap, coding: _Coding) -> int:
    """Pixels of a row in the window: of whole units."""
    return -(-bitmap.width // coding.per_unit) * coding.per_unit


def inflate(data: Buffer, glz_size: int) -> bytes:
    """The GLZ payload inside a ZLIB_GLZ_RGB payload (spec/lz.md 4): inflate once, then `Window.decode` until it works.

    glz_size: bytes that it must have, from the image descriptor.
    Raises CodecError if the stream is corrupt or its size is another.
    """
    if glz_size > _PAYLOAD_LIMIT:
        raise CodecError(f"ZLIB_GLZ: GLZ payload of {glz_size} bytes, limit {_PAYLOAD_LIMIT}")
    stream = zlib.decompressobj()
    try:
        payload = stream.decompress(data, glz_size + 1)
    except zlib.error as error:
        raise CodecError(f"ZLIB_GLZ: {error}") from None
    if len(payload) != glz_size or not stream.eof or stream.unused_data:
        raise CodecError(f"ZLIB_GLZ: {len(data)} bytes are not one stream of {glz_size}")
    return payload


def deflate(payload: Buffer, level: int = 3) -> bytes:
    """A ZLIB_GLZ_RGB payload from a GLZ payload. Send it only if it is smaller."""
    return zlib.compress(payload, level)
