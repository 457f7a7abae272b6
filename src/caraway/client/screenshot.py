"""A picture of a display, on its own: it does not change when the display does."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

PNG_COMPRESSION = 1
"""zlib level: a screen compresses nearly as well as at 6, in a fifth of the time."""


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
        return (self.width, self.height, self.rgb) == (
            (other.width, other.height, other.rgb) if isinstance(other, Screenshot) else None
        )

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

        return np.frombuffer(self.bgrx, np.uint8).reshape(self.height, self.width, 4)[:, :, 2::-1]

    def png(self) -> bytes:
        """As the bytes of a PNG file."""
        out = io.BytesIO()
        self.image().save(out, "PNG", compress_level=PNG_COMPRESSION)
        return out.getvalue()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a file whose suffix says the format: `.png`, `.jpg`, `.webp` and what else Pillow writes."""
        is_png = os.fspath(path).lower().endswith(".png")
        options: dict[str, Any] = {"compress_level": PNG_COMPRESSION} if is_png else {}
        self.image().save(path, **options)
