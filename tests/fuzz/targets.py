"""What is fuzzed: each compiled kernel behind its public function, and payloads of real encoders to begin from."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from caraway.errors import CodecError

ROOT = Path(os.environ.get("CARAWAY_VECTORS", Path(__file__).resolve().parents[3] / "shared" / "vectors"))

MAX_PIXELS = 1 << 14
"""Of a picture that a damaged header may announce: the fuzzer is after edges, not sizes."""

Payload = bytes
Target = Callable[[Payload], object]


class Kernel(NamedTuple):
    """seeds: payloads to damage. target: takes any bytes; raises nothing but CodecError and ProtocolError."""

    seeds: list[Payload]
    target: Target


def _vectors(*codecs: str, largest: int) -> Iterator[tuple[dict[str, Any], Payload]]:
    index: list[dict[str, Any]] = json.loads((ROOT / "index.json").read_text())["vectors"]
    for entry in index:
        if entry["codec"] in codecs and "enc" in entry:
            payload = (ROOT / entry["enc"]).read_bytes()
            if len(payload) <= largest:
                yield entry, payload


def _payloads(*codecs: str, largest: int = 1 << 13) -> list[Payload]:
    return [payload for _, payload in _vectors(*codecs, largest=largest)]


def _sized(*codecs: str, largest: int = 1 << 13) -> list[Payload]:
    """Payloads that do not tell their size, behind it: width, height, stride, u16 each."""
    return [
        b"".join(min(entry[side], 0xFFFF).to_bytes(2, "little") for side in ("width", "height", "stride")) + payload
        for entry, payload in _vectors(*codecs, largest=largest)
    ]


def _split(payload: Payload) -> tuple[int, int, int, Payload]:
    width, height, stride = (int.from_bytes(payload[at : at + 2], "little") for at in (0, 2, 4))
    return width, height, stride, payload[6:]


def _lz() -> Kernel:
    from caraway.codecs import lz

    palette = list(range(0, 1 << 24, 1 << 16))

    def decode(payload: Payload) -> None:
        _decode_into(lz.decode_into, payload, payload[12:16][::-1], payload[16:20][::-1])
        lz.decode(payload, palette, max_pixels=MAX_PIXELS)

    return Kernel(_payloads("lz", "lz_plt"), decode)


def _decode_into(decode_into: Callable[..., bool], payload: Payload, width: bytes, height: bytes) -> None:
    """Decode to memory of its own, of the size that the payload announces, little-endian."""
    columns, rows = int.from_bytes(width, "little"), int.from_bytes(height, "little")
    if columns * rows <= MAX_PIXELS:
        with contextlib.suppress(CodecError):
            decode_into(payload, memoryview(bytearray(4 * columns * rows)), columns, rows)


def _quic() -> Kernel:
    from caraway.codecs import quic

    def decode(payload: Payload) -> None:
        _decode_into(quic.decode_into, payload, payload[12:16], payload[16:20])
        quic.decode(payload, max_pixels=MAX_PIXELS)

    return Kernel(_payloads("quic"), decode)


def _encoders() -> Kernel:
    """Any pixels in any format: what is coded must come back."""
    from caraway.codecs import lz, quic
    from caraway.codecs.bitmap import Bitmap, PixelFormat

    formats = (PixelFormat.BGRX32, PixelFormat.BGRA32, PixelFormat.BGR24, PixelFormat.RGB555, PixelFormat.A8)

    def encode(payload: Payload) -> None:
        if len(payload) < 4:
            return
        format = formats[payload[0] % len(formats)]
        width, height = payload[1] % 80 + 1, payload[2] % 20 + 1
        row = format.row_bytes(width)
        pixels = (payload[3:] * (row * height // (len(payload) - 3) + 1))[: row * height]
        bitmap = Bitmap(width, height, format, row, pixels)
        for codec in (lz, quic):
            again = codec.decode(codec.encode(bitmap))
            assert (again.width, again.height) == (width, height)

    return Kernel(_payloads("quic", "lz", largest=4096), encode)


def _lz4() -> Kernel:
    from caraway.codecs import lz4

    def decode(payload: Payload) -> None:
        width, height, _, data = _split(payload)
        lz4.decode(data, width, height, max_pixels=MAX_PIXELS)

    return Kernel(_sized("lz4"), decode)


def _raw() -> Kernel:
    from caraway.codecs import bitmap
    from caraway.errors import CodecError

    palette = [number * 0x010203 for number in range(100)]

    def decode(payload: Payload) -> None:
        width, height, stride, data = _split(payload)
        for number in range(12):
            with contextlib.suppress(CodecError):
                rows = {"top_down": bool(height & 1), "max_pixels": MAX_PIXELS}
                bitmap.decode(number, width, height, stride, data, palette=palette, **rows)

    return Kernel(_sized("bitmap"), decode)


def _glz() -> Kernel:
    """Sequences of images as one payload: each behind its size, u32."""
    from caraway.codecs import glz

    def decode(payload: Payload) -> None:
        window = glz.Window(1 << 16)
        at = 0
        while len(payload) - at >= 4:
            size = int.from_bytes(payload[at : at + 4], "little") & 0xFFFF
            try:
                window.decode(payload[at + 4 : at + 4 + size])
            except glz.ImagePendingError:
                return
            at += 4 + size

    return Kernel(list(_glz_sequences()), decode)


def _glz_sequences() -> Iterator[Payload]:
    import random

    from caraway.codecs import glz
    from caraway.codecs.bitmap import Bitmap, PixelFormat

    dice = random.Random(1)
    for format in (PixelFormat.BGRX32, PixelFormat.BGRA32, PixelFormat.RGB555):
        dictionary = glz.Dictionary(1 << 14)
        row = format.row_bytes(24)
        picture = bytearray(dice.randbytes(row * 8))
        coded = b""
        for _ in range(4):
            picture[dice.randrange(len(picture))] ^= 255
            image = dictionary.encode(Bitmap(24, 8, format, row, bytes(picture)))
            coded += len(image).to_bytes(4, "little") + image
        yield coded


def _drawings() -> Kernel:
    """Display messages, each behind a mini header, on the surfaces of a client's channel."""
    from caraway.client.kernels import burst

    scratch = bytearray(4 << 10)

    def paint(payload: Payload) -> None:
        pixels = bytearray(64 * 64 * 4)
        burst.paint(payload, 0, len(payload), 100, pixels, 0, 64, 64, scratch)

    return Kernel([*_payloads("canvas", "session", largest=1 << 15), *_simple_drawings()], paint)


def _simple_drawings() -> Iterator[Payload]:
    from caraway.codecs import lz
    from caraway.codecs.bitmap import Bitmap, PixelFormat
    from caraway.wire.framing import pack_header
    from caraway.wire.messages.draw import DrawCopy, DrawFill, Rop, ScaleMode
    from caraway.wire.messages.images import Image, ImageFlags, LzImage, MaskFlags, QMask, SolidBrush
    from caraway.wire.messages.shapes import Point, Rect

    mask = QMask(MaskFlags(0), Point(0, 0), None)
    box = Rect(4, 4, 12, 12)
    picture = lz.encode(Bitmap(8, 8, PixelFormat.BGRX32, 32, bytes(range(256))))
    image = Image(1, ImageFlags(0), 8, 8, LzImage(picture))
    for clip in (None, [box, Rect(0, 0, 6, 6)]):
        fill = DrawFill(0, box, clip, SolidBrush(5), Rop.OP_PUT, mask)
        copy = DrawCopy(0, box, clip, image, Rect(0, 0, 8, 8), Rop.OP_PUT, ScaleMode.NEAREST, mask)
        bodies = [(message.id, message.pack()) for message in (fill, copy, fill, copy)]
        yield b"".join(pack_header(True, type, len(body), 0) + body for type, body in bodies)


def _canvas() -> Kernel:
    """Display messages through the painter."""
    from caraway.client import images, surfaces
    from support.drawings import Drawings

    surfaces.MAX_SURFACE_PIXELS = images.MAX_PIXELS = 1 << 17

    def draw(payload: Payload) -> None:
        Drawings().run(payload)

    return Kernel(_payloads("canvas", largest=1 << 15), draw)


KERNELS: dict[str, Callable[[], Kernel]] = {
    "lz": _lz,
    "glz": _glz,
    "quic": _quic,
    "encoders": _encoders,
    "lz4": _lz4,
    "raw": _raw,
    "burst": _drawings,
    "canvas": _canvas,
}
