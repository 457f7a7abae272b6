"""A picture of a display, on its own: it does not change when the display does.

The PNG of a usual screen is written here: to import an imaging library takes longer than to encode it.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

PNG_COMPRESSION = 1
"""zlib level: a screen compresses nearly as well as at 6, in a fifth of the time."""


WORTH_FILTERS = 4
"""A picture that does not shrink so many times holds a photo: Pillow's filters make it smaller than plain zlib does."""


class Screenshot:
    """width, height: pixels. bgrx: rows top first, 4 bytes b, g, r, x a pixel, without padding."""

    __slots__ = ("bgrx", "height", "width")

    def __init__(self, width: int, height: int, bgrx: bytes) -> None:
        self.width = width
        self.height = height
        self.bgrx = bgrx

    def __repr__(self) -> str:
        return f"<Screenshot {self.width}x{self.height}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Screenshot):
            return NotImplemented
        return (self.width, self.height) == (other.width, other.height) and self.rgb == other.rgb

    __hash__ = None  # type: ignore[assignment]

    @property
    def rgb(self) -> bytes:
        """3 bytes r, g, b a pixel, rows top first."""
        return self.image().tobytes()

    def image(self) -> Image.Image:
        """As a Pillow image, mode RGB."""
        from PIL import Image

        return Image.frombuffer("RGB", (self.width, self.height), self.bgrx, "raw", "BGRX", 0, 1)

    def numpy(self) -> np.ndarray:
        """As an array of shape (height, width, 3), uint8, r, g, b."""
        import numpy as np

        return np.ascontiguousarray(np.frombuffer(self.bgrx, np.uint8).reshape(self.height, self.width, 4)[:, :, 2::-1])

    def png(self) -> bytes:
        """As the bytes of a PNG file."""
        row = 3 * self.width
        rgb = bytearray(row * self.height)
        for component in range(3):
            rgb[component::3] = self.bgrx[2 - component :: 4]
        view = memoryview(rgb)
        unfiltered = b"".join([part for y in range(self.height) for part in (b"\0", view[y * row : (y + 1) * row])])
        packed = zlib.compress(unfiltered, PNG_COMPRESSION)
        if len(packed) * WORTH_FILTERS > len(unfiltered):
            return self._filtered_png()
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
        return PNG_SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)

    def _filtered_png(self) -> bytes:
        out = io.BytesIO()
        self.image().save(out, "PNG", compress_level=PNG_COMPRESSION)
        return out.getvalue()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a file whose suffix says the format: `.png`, `.jpg`, `.webp` and what else Pillow writes."""
        if os.fspath(path).lower().endswith(".png"):
            with open(path, "wb") as file:
                file.write(self.png())
        else:
            self.image().save(path)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
