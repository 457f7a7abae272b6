"""What a session's display channels share: the pixmap cache and the GLZ window.

See spec/messages.md 2.6 and 2.8, spec/lz.md 3 and 9.

A channel may need an image that another one is about to bring. It waits; where no other one is left that does not wait
itself, or for too long, it has found a fault of the server.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caraway.client.deadline import deadline
from caraway.codecs import pixels
from caraway.codecs.bitmap import Bitmap
from caraway.errors import ProtocolError
from caraway.wire.fields import Buffer

if TYPE_CHECKING:
    from caraway.codecs.glz import Window

PIXMAP_CACHE_PIXELS = 20 << 20
"""Pixels of the pixmap cache that servers are told: as deployed clients, 80 MiB."""

MAX_PIXMAPS = 1 << 20
"""Images in the pixmap cache: each costs some hundred bytes more than its pixels."""

MIN_WINDOW_BYTES, MAX_WINDOW_BYTES = 12 << 20, 64 << 20
"""The GLZ window is half of the guest's video memory, within these bounds: as deployed clients."""

IMAGE_DEADLINE = 10.0
"""Seconds that another channel may take to bring an image."""


def window_pixels(ram_hint: int) -> int:
    """Pixels of the GLZ window to ask for. ram_hint: bytes, from main's INIT."""
    return min(max(ram_hint // 2, MIN_WINDOW_BYTES), MAX_WINDOW_BYTES) // 4


@dataclass(slots=True)
class _Entry:
    bitmap: Bitmap
    lossy: bool
    uses: int = 1

    @property
    def pixels(self) -> int:
        return self.bitmap.width * self.bitmap.height


def _compact(bitmap: Bitmap) -> Bitmap:
    """The same picture without padding, and without the message that it came in."""
    row_bytes = bitmap.format.row_bytes(bitmap.width)
    if not isinstance(bitmap.data, memoryview) and len(bitmap.data) == row_bytes * bitmap.height:
        return bitmap
    rows = pixels.packed_rows(bitmap.data, bitmap.stride, row_bytes, bitmap.height, flip=False)
    return Bitmap(bitmap.width, bitmap.height, bitmap.format, row_bytes, pixels.plain(rows), bitmap.palette)


class PixmapCache:
    """Images by id. The server says what comes and goes; the client only sees that it keeps to the size agreed on."""

    def __init__(self, max_pixels: int = PIXMAP_CACHE_PIXELS) -> None:
        self.pixels = 0
        self._max_pixels = max_pixels
        self._entries: dict[int, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, id: int, *, lossless: bool = False) -> Bitmap | None:
        """The image of that id; None if it is not there, or only as a lossy one where that will not do."""
        entry = self._entries.get(id)
        return None if entry is None or (lossless and entry.lossy) else entry.bitmap

    def put(self, id: int, bitmap: Bitmap, *, lossy: bool, replace: bool = False) -> None:
        """Keep an image. One that is there gets these pixels, and one use more unless it is to `replace` it.

        Raises ProtocolError beyond the size that the server was told, and for too many images.
        """
        entry = self._entries.get(id)
        new = _Entry(_compact(bitmap), lossy, 1 if entry is None else entry.uses + (not replace))
        held = self.pixels + new.pixels - (entry.pixels if entry else 0)
        if held > self._max_pixels:
            raise ProtocolError(f"pixmap cache of {held} pixels, agreed on {self._max_pixels}")
        if entry is None and len(self._entries) >= MAX_PIXMAPS:
            raise ProtocolError(f"pixmap cache of more than {MAX_PIXMAPS} images")
        self.pixels = held
        self._entries[id] = new

    def invalidate(self, id: int) -> None:
        """One use less; without any the image goes. An unknown id is nothing."""
        entry = self._entries.get(id)
        if entry is None:
            return
        entry.uses -= 1
        if not entry.uses:
            self.pixels -= entry.pixels
            del self._entries[id]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.pixels = 0


class SharedImages:
    """The pixmap cache and the GLZ window of one server's display channels, and the waits for each other's images.

    channels: how many display channels there are now.
    """

    def __init__(self, channels: Callable[[], int], ram_hint: int = 0) -> None:
        self.pixmaps = PixmapCache()
        self.window_pixels = window_pixels(ram_hint)
        self._channels = channels
        self._window: Window | None = None
        self._decoding = asyncio.Lock()
        self._in_window = threading.Lock()
        """Held where a channel has ended, and left behind a worker that still decodes."""
        self._came: asyncio.Future[None] | None = None
        self._waiting = 0
        """Channels that wait for it."""

    @property
    def window(self) -> Window:
        """The GLZ window, made when it is first needed."""
        if self._window is None:
            from caraway.codecs.glz import Window

            self._window = Window(self.window_pixels)
        return self._window

    def keep(self, id: int, bitmap: Bitmap, *, lossy: bool, replace: bool) -> None:
        """Put an image into the cache, for whoever waits for it too."""
        self.pixmaps.put(id, bitmap, lossy=lossy, replace=replace)
        self._tell()

    async def cached(self, id: int, *, lossless: bool) -> Bitmap:
        """The image of that id, once it is there. Raises ProtocolError."""
        while (found := self.pixmaps.find(id, lossless=lossless)) is None:
            await self._another(f"image {id:#x} in the cache")
        return found

    async def decode_glz(self, data: Buffer, channel: int, *, is_small: bool) -> Bitmap:
        """Decode a GLZ payload once the images are there that it refers to. Raises CodecError or ProtocolError.

        is_small: decode at once, not in a worker.
        """
        from caraway.codecs.glz import ImagePendingError

        while True:
            self.window.channels = self._channels()
            try:
                async with self._decoding:
                    if is_small:
                        bitmap = self._decode(data, channel)
                    else:
                        bitmap = await asyncio.to_thread(self._decode, data, channel)
            except ImagePendingError as pending:
                await self._another(f"image {pending.image_id} in the GLZ window")
            else:
                self._tell()
                return bitmap

    def _decode(self, data: Buffer, channel: int) -> Bitmap:
        with self._in_window:
            return self.window.decode(data, channel)

    async def _another(self, what: str) -> None:
        """Wait until another channel has brought an image, or has ended."""
        if self._waiting + 1 >= self._channels():
            raise ProtocolError(f"there is no {what}, and no other display to bring it")
        if self._came is None:
            self._came = asyncio.get_running_loop().create_future()
        came = self._came
        self._waiting += 1
        try:
            async with deadline(IMAGE_DEADLINE, f"no {what}"):
                await asyncio.shield(came)
        finally:
            if came is self._came:
                self._waiting -= 1

    def channel_ended(self) -> None:
        """A display channel is over: who waits for its images may wait in vain."""
        self._tell()

    def _tell(self) -> None:
        if self._came is not None:
            came, self._came, self._waiting = self._came, None, 0
            came.set_result(None)
