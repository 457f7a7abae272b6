"""Video whose frames depend on each other: VP8, VP9, H264 and H265, decoded by FFmpeg (spec/streams.md 4).

FFmpeg comes with the package PyAV, which the extra `video` installs.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, cast

from caraway.codecs import pixels
from caraway.codecs.bitmap import Bitmap, PixelFormat, check_size
from caraway.codecs.pixels import Buffer
from caraway.errors import CodecError

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

MAX_PIXELS = 1 << 25
"""Pixels of a frame: an 8K screen. A decoder keeps up to 17 of them, 1.5 bytes a pixel."""

_NAMES = {2: "vp8", 3: "h264", 4: "vp9", 5: "hevc"}
CODECS = frozenset(_NAMES)
"""Numbers on the wire of the codecs of this module."""


def is_available() -> bool:
    """Whether PyAV is installed; does not load it."""
    return importlib.util.find_spec("av") is not None


class Decoder:
    """Decodes the frames of one stream, every one, in the order in which they were coded.

    codec: number on the wire, one of `CODECS`. max_pixels: of a frame.
    Raises CodecError for another codec, or if PyAV is missing.
    """

    def __init__(self, codec: int, *, max_pixels: int = MAX_PIXELS) -> None:
        name = _NAMES.get(int(codec))
        if name is None:
            raise CodecError(f"video of unknown codec {int(codec)}")
        try:
            import av.video.reformatter
        except ImportError:
            raise CodecError(f"{name} video needs PyAV: pip install 'caraway[video]'") from None
        self._name = name
        self._max_pixels = max_pixels
        try:
            context = av.CodecContext.create(name, "r")
        except (av.error.FFmpegError, ValueError) as error:
            raise CodecError(f"{name} video: this FFmpeg has no decoder: {error}") from None
        context.options = {"max_pixels": str(max_pixels), "flags": "+low_delay"}
        context.thread_type = "SLICE"
        context.thread_count = 1
        self._context = cast("VideoCodecContext", context)
        self._reformatter = av.video.reformatter.VideoReformatter()

    def decode(self, data: Buffer, *, shown: bool = True) -> Bitmap | None:
        """Decode one access unit.

        shown: False for a late frame, which others depend on, but which nobody will see.
        Returns a BGRX32 bitmap, rows in the order they are coded, or None if there is no picture: `shown` is False, or
        the unit completes none. Its size is the frame's own.
        Raises CodecError; later units decode again once a picture comes that depends on no other.
        """
        import av.error

        if not len(data):
            raise CodecError(f"{self._name} video: frame of 0 bytes")
        try:
            frames = self._context.decode(av.Packet(bytes(data)))
            return self._bitmap(frames[-1]) if frames and shown else None
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            raise CodecError(f"{self._name} video: {error}") from None

    def _bitmap(self, frame: VideoFrame) -> Bitmap:
        check_size(frame.width, frame.height, self._max_pixels)
        plane = self._reformatter.reformat(frame, format="bgra").planes[0]
        rows = bytearray(plane)
        pixels.set_high_bytes(rows, 0)
        return Bitmap(frame.width, frame.height, PixelFormat.BGRX32, plane.line_size, rows)
