"""Surfaces: the pictures that a display channel draws on (spec/canvas.md 1)."""

from caraway.canvas.region import Box
from caraway.codecs import pixels
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.errors import ProtocolError
from caraway.wire.messages.display import SurfaceFormat

MAX_SIDE = 1 << 14
"""Pixels of a surface's side: what graphics stacks can texture at once; the widest wall of four 4K screens is 15360."""
MAX_PIXELS = 1 << 26
"""Pixels of a surface: 256 MiB, twice an 8K screen. Deployed guests have at most 256 MiB of video memory for all."""


_PIXEL_FORMAT = {
    SurfaceFormat.A1: PixelFormat.A8,
    SurfaceFormat.A8: PixelFormat.A8,
    SurfaceFormat.RGB555: PixelFormat.RGB555,
    SurfaceFormat.RGB565: PixelFormat.RGB565,
    SurfaceFormat.XRGB32: PixelFormat.BGRX32,
    SurfaceFormat.ARGB32: PixelFormat.BGRA32,
}


def depth(format: SurfaceFormat) -> int:
    """Bits of a pixel on the wire."""
    return format & 63


def pixel_bytes(format: SurfaceFormat) -> int:
    """Bytes of a pixel in `Surface.data`."""
    return max(depth(format) // 8, 1)


def pixel_format(format: SurfaceFormat) -> PixelFormat:
    """The format of palette entries for such a surface, and of the surface when it is a source."""
    return _PIXEL_FORMAT[format]


class Surface:
    """A picture that can be drawn on; all zero at first.

    bounds: all of it, as a rectangle.
    data: rows top first, `stride` bytes each, without padding. A1 is kept as one byte a pixel, 0 or 255, so that masks
    and all operations see whole bytes.
    """

    __slots__ = ("bounds", "data", "depth", "format", "height", "pixel_bytes", "stride", "view", "width")

    def __init__(self, width: int, height: int, format: int) -> None:
        """Make a surface of a wire format (1, 8, 16, 32, 80, 96).

        Raises ProtocolError if the format is unknown or the size is zero or beyond the limits.
        """
        try:
            self.format = SurfaceFormat(format)
        except ValueError:
            raise ProtocolError(f"surface of unknown format {format}") from None
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
            raise ProtocolError(f"surface of {width}x{height} pixels, limit {MAX_SIDE} a side and {MAX_PIXELS} in all")
        self.width = width
        self.height = height
        self.depth = depth(self.format)
        self.pixel_bytes = pixel_bytes(self.format)
        self.bounds = Box(0, 0, width, height)
        self.stride = width * self.pixel_bytes
        self.data = bytearray(self.stride * height)
        self.view = memoryview(self.data)

    def __repr__(self) -> str:
        return f"<Surface {self.width}x{self.height} {self.format.name}>"

    @property
    def pixel_format(self) -> PixelFormat:
        """How its words look to a decoder: the format of palette entries for it."""
        return pixel_format(self.format)

    def copy(self) -> "Surface":
        """An independent surface with the same pixels."""
        other = Surface(self.width, self.height, self.format)
        other.view[:] = self.view
        return other

    def bitmap(self) -> Bitmap:
        """A view of the surface as a bitmap, not a copy."""
        return Bitmap(self.width, self.height, self.pixel_format, self.stride, self.data)

    def to_bgrx(self) -> bytes | bytearray | memoryview:
        """The picture as 4 bytes b, g, r, x a pixel; a view of the living pixels where they are so already."""
        if self.pixel_bytes == 4:
            return self.view
        if self.format is SurfaceFormat.RGB555:
            return pixels.bgrx_from_555(self.data)
        if self.format is SurfaceFormat.RGB565:
            return pixels.bgrx_from_565(self.data)
        grey = bytearray(4 * len(self.data))
        for component in range(3):
            grey[component::4] = self.data
        return grey

    def to_rgb(self, box: Box | None = None) -> bytes:
        """The picture, or a part of it, as 3 bytes r, g, b a pixel, rows top first; alpha surfaces as grey."""
        part = self.bounds if box is None else box
        stride = self.width * 4
        from_part = memoryview(self.to_bgrx())[part.top * stride + part.left * 4 :]
        packed = pixels.plain(pixels.packed_rows(from_part, stride, part.width * 4, part.height, flip=False))
        rgb = bytearray(part.width * part.height * 3)
        for component in range(3):
            rgb[component::3] = packed[2 - component :: 4]
        return bytes(rgb)
