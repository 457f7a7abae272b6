"""Video streams on the surfaces of a display channel: frames decoded and drawn in their turn (spec/streams.md)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from caraway.canvas import raster
from caraway.canvas.region import Box
from caraway.client.images import INLINE_PIXELS
from caraway.client.media_clock import MediaClock
from caraway.client.painter import carry_out
from caraway.client.streams import Frame, Streams
from caraway.client.surfaces import Surfaces
from caraway.errors import CodecError
from caraway.wire.messages.display import StreamData, StreamDataSized, StreamReport
from caraway.wire.messages.draw import Rop, ScaleMode
from caraway.wire.messages.shapes import Rect

log = logging.getLogger(__name__)


class Player:
    """Plays the streams of one display channel.

    surfaces: what they are drawn on. drawn: told of a surface's id and what has changed of it.
    """

    def __init__(self, clock: MediaClock, surfaces: Surfaces, drawn: Callable[[int, Sequence[Box]], None]) -> None:
        self.streams = Streams(clock)
        self._surfaces = surfaces
        self._drawn = drawn
        self._timeout: asyncio.Timeout | None = None
        """Of the wait for more; frames are due at its end."""

    def clock_was_set(self) -> None:
        """The media clock has been set: frames that wait may be due earlier or later."""
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(self.streams.deadline(self._now()))

    def take_reports(self) -> list[StreamReport]:
        """Reports that the server is to get."""
        return self.streams.take_reports()

    async def receive(self, message: StreamData | StreamDataSized) -> None:
        """A coded frame: show it, or keep it until its time."""
        await self._show(self.streams.receive(message, self._now()))

    async def until_due(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Await something, or show the frames whose time comes before it: more may have been received meanwhile."""
        due = self.streams.deadline(self._now())
        try:
            async with asyncio.timeout_at(due) as timeout:
                self._timeout = timeout
                await wait()
        except TimeoutError:
            if not timeout.expired():
                raise
            await self._show(self.streams.due(self._now()))
        finally:
            self._timeout = None

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _show(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            try:
                await self._show_one(frame)
            except CodecError as error:
                log.info("stream %d: a frame is left out: %s", frame.stream.id, error)
                if not frame.stream.has_decoder:
                    self.streams.refuse(frame.stream)

    async def _show_one(self, frame: Frame) -> None:
        stream = frame.stream
        # What a stream is announced with says nothing of its frames; with the first one the codec is loaded, too.
        if stream.pixels is not None and stream.pixels <= INLINE_PIXELS:
            picture = stream.decode(frame)
        else:
            picture = await asyncio.to_thread(stream.decode, frame)
        surface = self._surfaces.get(stream.surface_id)
        if picture is None or surface is None:
            return
        area = Rect(0, 0, picture.height, picture.width)

        def draw() -> list[Box]:
            return raster.copy(surface, frame.dest, stream.clip, picture, area, Rop.OP_PUT, ScaleMode.NEAREST)

        is_slow = not raster.is_same_size(frame.dest, area)
        self._drawn(stream.surface_id, await carry_out(draw, frame.dest, surface, is_slow=is_slow))
