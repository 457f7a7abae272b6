"""The LZ4 payload: packed rows as blocks of one LZ4 stream (spec/lz.md 7)."""

import struct

from caraway.codecs import pixels
from caraway.codecs.bitmap import MAX_PIXELS, Bitmap, PixelFormat, check_size
from caraway.codecs.pixels import Buffer
from caraway.errors import CodecError

WINDOW = 1 << 16
"""Bytes of earlier output that matches of a block reach back into."""

_HEADER = struct.Struct("BB")
_BLOCK_SIZE = struct.Struct(">I")
_MAX_RATIO = 255
"""Bytes that a byte of a block stands for at most: one of a match's length."""

_FROM_WIRE = {
    6: PixelFormat.RGB555_OPAQUE,
    7: PixelFormat.BGR24,
    8: PixelFormat.BGRX32,
    9: PixelFormat.BGRA32,
}
_TO_WIRE = {layout: number for number, layout in _FROM_WIRE.items()} | {PixelFormat.RGB555: 6}


def decode(data: Buffer, width: int, height: int, *, max_pixels: int = MAX_PIXELS) -> Bitmap:
    """Decode an LZ4 payload.

    width, height: from the image descriptor; the payload does not tell.
    Returns a top-down bitmap: RGB555_OPAQUE, BGRX32 (24BIT, with x = 0, and 32BIT, with x as it came) or BGRA32.
    Raises CodecError if the payload is damaged or holds less or more than these rows.
    """
    check_size(width, height, max_pixels)
    if len(data) < _HEADER.size:
        raise CodecError(f"LZ4: header needs {_HEADER.size} bytes, got {len(data)}")
    top_down, number = _HEADER.unpack_from(data)
    if top_down > 1:
        raise CodecError(f"LZ4: top_down is {top_down}")
    layout = _FROM_WIRE.get(number)
    if layout is None:
        raise CodecError(f"LZ4: unknown format {number}")
    row_bytes = layout.row_bytes(width)
    rows: Buffer = _read_blocks(memoryview(data)[_HEADER.size :], row_bytes * height)
    rows = pixels.packed_rows(rows, row_bytes, row_bytes, height, flip=not top_down)
    if layout is PixelFormat.BGR24:
        return Bitmap(width, height, PixelFormat.BGRX32, width * 4, pixels.bgrx_from_bgr(rows))
    return Bitmap(width, height, layout, row_bytes, rows)


def _read_blocks(data: memoryview, size: int) -> bytes:
    import lz4.block

    blocks: list[bytes] = []
    window = b""
    missing = size
    at = 0
    while at < len(data):
        if len(data) - at < _BLOCK_SIZE.size:
            raise CodecError(f"LZ4: {len(data) - at} bytes where the size of a block belongs")
        (length,) = _BLOCK_SIZE.unpack_from(data, at)
        at += _BLOCK_SIZE.size
        if not 0 < length <= len(data) - at:
            raise CodecError(f"LZ4: block of {length} bytes, {len(data) - at} are left")
        try:
            block = lz4.block.decompress(
                data[at : at + length],
                uncompressed_size=min(missing, length * _MAX_RATIO),
                dict=window,
            )
        except lz4.block.LZ4BlockError as error:
            raise CodecError(f"LZ4: block at byte {_HEADER.size + at}: {error}") from None
        at += length
        missing -= len(block)
        blocks.append(block)
        if at < len(data):
            window = block[-WINDOW:] if len(block) >= WINDOW else (window + block)[-WINDOW:]
    if missing:
        raise CodecError(f"LZ4: blocks hold {size - missing} bytes, the picture needs {size}")
    return b"".join(blocks) if len(blocks) > 1 else blocks[0]


def encode(bitmap: Bitmap, *, top_down: bool = True) -> bytes:
    """Encode a picture as one block.

    top_down: False codes the bottom row first.
    Raises CodecError for formats other than RGB555, BGR24, BGRX32 and BGRA32.
    """
    import lz4.block

    number = _TO_WIRE.get(bitmap.format)
    if number is None:
        raise CodecError(f"LZ4: no format for {bitmap.format.name} pictures")
    row_bytes = bitmap.format.row_bytes(bitmap.width)
    rows = pixels.packed_rows(bitmap.data, bitmap.stride, row_bytes, bitmap.height, flip=not top_down)
    block: bytes = lz4.block.compress(rows, store_size=False)
    return _HEADER.pack(top_down, number) + _BLOCK_SIZE.pack(len(block)) + block
