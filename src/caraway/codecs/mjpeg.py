"""Motion JPEG: pictures of which only a stream's first needs to bring Huffman tables (spec/streams.md 4)."""

import struct

from caraway.codecs import jpeg
from caraway.codecs.bitmap import MAX_PIXELS, Bitmap
from caraway.codecs.pixels import Buffer
from caraway.errors import CodecError

ANNEX_K = {
    0x00: bytes.fromhex("00010501010101010100000000000000000102030405060708090a0b"),
    0x01: bytes.fromhex("00030101010101010101010000000000000102030405060708090a0b"),
    0x10: bytes.fromhex(
        "0002010303020403050504040000017d01020300041105122131410613516107227114328191a1082342b1c11552d1f0"
        "2433627282090a161718191a25262728292a3435363738393a434445464748494a535455565758595a63646566676869"
        "6a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5"
        "c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
    ),
    0x11: bytes.fromhex(
        "00020102040403040705040400010277000102031104052131061241510761711322328108144291a1b1c109233352f0"
        "156272d10a162434e125f11718191a262728292a35363738393a434445464748494a535455565758595a636465666768"
        "696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3"
        "c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
    ),
}
"""The tables of the JPEG specification's Annex K: class and number -> 16 counts of codes, then the symbols."""

_DHT = 0xC4
_COUNTS = 16
_NUMBERS = frozenset([*range(4), *range(0x10, 0x14)])


class Decoder:
    """Decodes the frames of one stream, in any order and with gaps: a frame needs no other but for its tables."""

    def __init__(self, *, max_pixels: int = MAX_PIXELS) -> None:
        self._max_pixels = max_pixels
        self._tables = dict(ANNEX_K)

    def decode(self, frame: Buffer) -> Bitmap:
        """Decode one frame; tables that it lacks are those of an earlier frame, or else the standard ones.

        Returns a bitmap as `jpeg.decode` does, rows in the order they are coded. Its size is the frame's own.
        Raises CodecError; the tables of such a frame are not kept.
        """
        own: dict[int, bytes] = {}
        for marker, start, end in jpeg.segments(frame):
            if marker == _DHT:
                own |= _read_tables(bytes(frame[start + 4 : end]))
        lacking = {number: table for number, table in self._tables.items() if number not in own}
        if lacking:
            segment = b"".join(bytes([number]) + table for number, table in lacking.items())
            head = struct.pack(">BBH", 0xFF, _DHT, len(segment) + 2)
            frame = b"".join([frame[:2], head, segment, memoryview(frame)[2:]])
        picture = jpeg.decode(frame, max_pixels=self._max_pixels)
        self._tables |= own
        return picture


def _read_tables(segment: bytes) -> dict[int, bytes]:
    tables = {}
    while segment:
        number = segment[0]
        size = 1 + _COUNTS + sum(segment[1 : 1 + _COUNTS])
        if number not in _NUMBERS or size > len(segment):
            raise CodecError(f"MJPEG: Huffman table {number:#x} of {size} bytes in {len(segment)}")
        tables[number] = segment[1:size]
        segment = segment[size:]
    return tables
