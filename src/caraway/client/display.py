"""The display channel: messages drawn on surfaces, shown by a `Screen` (spec/messages.md 2, spec/canvas.md)."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from caraway.canvas.region import Box
from caraway.canvas.screen import Change, Screen
from caraway.canvas.surface import Surface
from caraway.client.arrival import Arrival, Settling
from caraway.client.blinking import Blinking
from caraway.client.channel import Channel
from caraway.client.connection import Connection
from caraway.client.deadline import deadline
from caraway.client.images import ImageDecoder
from caraway.client.kernels import burst
from caraway.client.painter import DRAWINGS, Painter, SpoiltError
from caraway.client.screenshot import Screenshot
from caraway.client.shared_images import PIXMAP_CACHE_PIXELS
from caraway.client.surfaces import PRIMARY, Surfaces
from caraway.errors import CarawayError, LinkError
from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType
from caraway.wire.framing import Frame
from caraway.wire.messages.base import Message
from caraway.wire.messages.display import (
    DisplayCapability,
    ImageCompression,
    Init,
    InvalAllPalettes,
    InvalAllPixmaps,
    InvalList,
    InvalPalette,
    Mark,
    MonitorsConfig,
    PreferredCompression,
    Reset,
    StreamActivateReport,
    StreamClip,
    StreamCreate,
    StreamData,
    StreamDataSized,
    StreamDestroy,
    StreamDestroyAll,
    SurfaceCreate,
    SurfaceDestroy,
    SurfaceFlags,
)
from caraway.wire.messages.draw import Draw
from caraway.wire.messages.handlers import handles

if TYPE_CHECKING:
    from caraway.client.player import Player
    from caraway.client.session import Session

log = logging.getLogger(__name__)

VIDEO = (
    DisplayCapability.CODEC_VP8,
    DisplayCapability.CODEC_VP9,
    DisplayCapability.CODEC_H264,
    DisplayCapability.CODEC_H265,
)
"""What PyAV decodes, where it is installed (the extra `video`)."""

MAX_BURST = 1 << 14
"""Simple drawings that are carried out in one go, where the server wants no ACKs in between."""

BURST_PIXELS = 1 << 14
"""Pixels of the largest picture among them."""

PIXMAP = 1
"""Type of a resource in the pixmap cache."""

SHARED_ID = 1
"""Id of the pixmap cache and of the GLZ dictionary: the same on all display channels, which share both."""

READY_DEADLINE = 30.0
STABLE_DEADLINE = 60.0


class DisplayChannel(Channel):
    """One display of the guest. What it shows is in `screen`."""

    channel_type = ChannelType.DISPLAY
    capabilities = Capabilities(
        [
            DisplayCapability.SIZED_STREAM,
            DisplayCapability.MONITORS_CONFIG,
            DisplayCapability.COMPOSITE,
            DisplayCapability.A8_SURFACE,
            DisplayCapability.STREAM_REPORT,
            DisplayCapability.LZ4_COMPRESSION,
            DisplayCapability.MULTI_CODEC,
            DisplayCapability.CODEC_MJPEG,
            *(VIDEO if importlib.util.find_spec("av") else ()),
        ]
    )

    def __init__(self, session: Session, id: int, connection: Connection) -> None:
        super().__init__(session, id, connection)
        self.screen = Screen()
        self._surfaces = Surfaces()
        self._images = ImageDecoder(id, self._surfaces.get, session.images)
        self._painter = Painter(self._surfaces, self._images)
        self._scratch = bytearray(4 * BURST_PIXELS)
        self._compression: ImageCompression | None = None
        self._tells_wishes = False
        """Whether the server of now still has to hear what the client prefers."""
        self._streaming_surfaces: set[int] = set()
        """Surfaces on which only one stream will come."""
        self._plays: Player | None = None
        self._arriving: Arrival | Settling | None = None

    def reset(self) -> None:
        """Forget all that the server made; the picture stays on the screen until the next host's is complete."""
        self._surfaces.clear()
        if self._plays is not None:
            self._plays.streams.clear()
        self._images.forget_palettes()
        self._images.shared = self.session.images_after(self._images.shared)
        self.screen.lost()
        if self._arriving is not None:
            self._arriving.stop()
        if self.screen.surface is not None:
            self._arriving = Arrival(self.screen, self._arrived, same_size=True)

    def _arrived(self) -> None:
        self._arriving = None
        self.seems_alive()

    def seems_alive(self) -> None:
        """Put the pointer where it was, too: its place counts in pixels of the guest's surface, which is there now."""
        if self.arrival is not None:
            super().seems_alive()
            for inputs in self.session.input_channels():
                inputs.put_back()

    def end(self, error: CarawayError) -> None:
        super().end(error)
        self._images.shared.channel_ended()
        if self._arriving is not None:
            self._arriving.stop()

    def start(self) -> None:
        """Announce the sizes of the caches; the server says nothing before."""
        self.send(Init(SHARED_ID, PIXMAP_CACHE_PIXELS, SHARED_ID, self._images.shared.window_pixels))
        self._tells_wishes = True

    def continue_on(self, connection: Connection, first: Message | None) -> None:
        """Go on at the target, which has all of the channel's state but the client's wishes."""
        super().continue_on(connection, first)
        if self._arriving is None and self.screen.live:
            self._arriving = Settling(self.screen, self._arrived)
        self._tells_wishes = True

    def prefer(self, compression: ImageCompression | str) -> None:
        """Ask the server to compress images so: "off", "auto_glz", "auto_lz", "quic", "glz", "lz" or "lz4".

        Holds at the targets of migrations too. A server that does not take wishes goes on as it likes.
        """
        if isinstance(compression, str):
            compression = ImageCompression[compression.upper()]
        self._compression = compression
        self._tells_wishes = True
        if self.screen.live:
            self._tell_wishes()

    def _tell_wishes(self) -> None:
        """After the first mark or drawing: a wish right behind INIT can crash a server (spec/messages.md 12)."""
        self._tells_wishes = False
        if self._compression is not None and self._server_can(DisplayCapability.PREF_COMPRESSION):
            self.send(PreferredCompression(self._compression))

    def _server_can(self, capability: DisplayCapability) -> bool:
        machine = self.connection.machine
        return machine is not None and capability in machine.server_channel

    # what is shown

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is shown, pixels; (0, 0) before the first picture."""
        surface = self.screen.surface
        return (surface.width, surface.height) if surface else (0, 0)

    def screenshot(self) -> Screenshot:
        """The picture as it is now. Raises LinkError before the first one: await `ready` first."""
        surface = self.screen.surface
        if surface is None:
            self.check()
            raise LinkError(f"{self.name}: no picture yet; await display.ready() first")
        return Screenshot(surface.width, surface.height, bytes(surface.to_bgrx()))

    async def ready(self, timeout: float = READY_DEADLINE) -> None:
        """Wait for the first complete picture. Raises DeadlineError: a guest may have no screen at all."""
        async with deadline(timeout, f"{self.name}: a first picture"):
            while self.screen.surface is None:
                await self._next_change()

    async def arrived(self, timeout: float = READY_DEADLINE) -> None:
        """Wait until what is shown is the primary surface of now, not the last good picture from before it.

        Returns at once where there is no such surface. Raises DeadlineError.
        """
        async with deadline(timeout, f"{self.name}: the picture of a new mode or host"):
            while self._arriving is not None and self._surfaces.get(PRIMARY) is not None:
                await self._next_change()

    async def wait_stable(self, quiet: float = 0.5, timeout: float = STABLE_DEADLINE) -> None:
        """Wait until there is a picture and nothing on it has changed for `quiet` seconds.

        A text cursor that blinks does not count. Raises DeadlineError.
        """
        blinking = Blinking()
        async with deadline(timeout, f"{self.name}: {quiet:g} s without a change"):
            await self.ready(timeout)
            rested = asyncio.get_running_loop().time() + quiet
            while True:
                try:
                    async with asyncio.timeout_at(rested):
                        change = await self._next_change()
                except TimeoutError:
                    self.check()
                    return
                if not blinking.explains(change, self.screen):
                    rested = asyncio.get_running_loop().time() + quiet

    async def frames(self) -> AsyncGenerator[Screenshot, None]:
        """The picture, and again after each change; changes that come faster than they are taken are merged."""
        await self.ready()
        shown = -1
        while True:
            if self.screen.serial == shown:
                await self._next_change()
            shown = self.screen.serial
            yield self.screenshot()

    async def _next_change(self) -> Change:
        changes: asyncio.Queue[Change] = asyncio.Queue(1)

        def take(change: Change) -> None:
            if changes.empty():
                changes.put_nowait(change)

        stop = self.screen.listen(take)
        try:
            return await self.until(changes.get())
        finally:
            stop()

    # surfaces and caches

    @handles(SurfaceCreate)
    def _surface_create(self, message: SurfaceCreate) -> None:
        surface = self._surfaces.create(message.surface_id, message.width, message.height, message.format)
        self._streaming_surfaces.discard(message.surface_id)
        if message.flags & SurfaceFlags.STREAMING_MODE:
            self._streaming_surfaces.add(message.surface_id)
        if message.surface_id == PRIMARY:
            self._next_picture(surface)

    def _next_picture(self, surface: Surface | None) -> None:
        """There is another primary surface, or none for now: the picture stays until the next is complete."""
        if isinstance(self._arriving, Settling):
            self._arriving.stop()
            self._arriving = None
        if self._arriving is None and self.screen.surface is not None:
            self._arriving = Arrival(self.screen, self._arrived, same_size=False)
        if surface is None:
            self.screen.lost()
        else:
            self.screen.begin(surface)
        if self._arriving is not None:
            self._arriving.begin(surface)

    @handles(SurfaceDestroy)
    def _surface_destroy(self, message: SurfaceDestroy) -> None:
        self._surfaces.destroy(message.surface_id)
        if message.surface_id == PRIMARY:
            self._next_picture(None)

    @handles(Reset)
    def _reset(self, message: Reset) -> None:
        self._surfaces.clear()
        self._next_picture(None)

    @handles(Mark)
    def _mark(self, message: Mark) -> None:
        if self._arriving is None:
            self.screen.mark()
        else:
            self._arriving.mark()
        if self._tells_wishes:
            self._tell_wishes()

    @handles(MonitorsConfig)
    def _monitors_config(self, message: MonitorsConfig) -> None:
        self.screen.set_heads(message.heads)

    @handles(InvalList)
    def _inval_list(self, message: InvalList) -> None:
        for resource in message.resources:
            if resource.type == PIXMAP:
                self._images.shared.pixmaps.invalidate(resource.id)

    @handles(InvalAllPixmaps)
    async def _inval_all_pixmaps(self, message: InvalAllPixmaps) -> None:
        await self.wait_for_channels(message.wait_list)
        self._images.shared.pixmaps.clear()

    @handles(InvalPalette)
    def _inval_palette(self, message: InvalPalette) -> None:
        self._images.forget_palette(message.palette_id)

    @handles(InvalAllPalettes)
    def _inval_all_palettes(self, message: InvalAllPalettes) -> None:
        self._images.forget_palettes()

    # video

    @property
    def _player(self) -> Player:
        """Made when there is a first stream."""
        if self._plays is None:
            from caraway.client.player import Player

            self._plays = Player(self.session.main.media_clock, self._surfaces, self._drawn)
        return self._plays

    @handles(StreamCreate)
    def _stream_create(self, message: StreamCreate) -> None:
        self._player.streams.create(message, at_once=message.surface_id in self._streaming_surfaces)

    @handles(StreamData, StreamDataSized)
    async def _stream_data(self, message: StreamData | StreamDataSized) -> None:
        await self._player.receive(message)
        self._report()

    @handles(StreamClip)
    def _stream_clip(self, message: StreamClip) -> None:
        self._player.streams.clip(message)

    @handles(StreamDestroy)
    def _stream_destroy(self, message: StreamDestroy) -> None:
        self._player.streams.destroy(message)

    @handles(StreamDestroyAll)
    def _stream_destroy_all(self, message: StreamDestroyAll) -> None:
        if self._plays is not None:
            self._plays.streams.clear()

    @handles(StreamActivateReport)
    def _stream_activate_report(self, message: StreamActivateReport) -> None:
        self._player.streams.activate_report(message)
        self._report()

    def clock_was_set(self) -> None:
        """The session's media clock has been set."""
        if self._plays is not None:
            self._plays.clock_was_set()

    def _report(self) -> None:
        for report in self._player.take_reports():
            if self._server_can(DisplayCapability.STREAM_REPORT):
                self.send(report)

    async def _wait_for_more(self, connection: Connection) -> None:
        if self._plays is None:
            await super()._wait_for_more(connection)
        else:
            await self._plays.until_due(lambda: super(DisplayChannel, self)._wait_for_more(connection))

    # drawing

    def _next_frame(self, connection: Connection) -> Frame | None:
        """The next message, behind those that could be drawn where they lie."""
        surface = self.screen.surface
        if surface is not None and self.screen.live and self._arriving is None and not self._tells_wishes:
            self._paint_burst(connection, surface)
        return super()._next_frame(connection)

    def _paint_burst(self, connection: Connection, surface: Surface) -> None:
        reader = connection.pending
        if reader is None or surface.pixel_bytes != 4:
            return
        acks = self.flow.acks.until_due
        limit = MAX_BURST if acks is None else acks
        start, count, boxes = burst.paint(
            *reader.pending(), limit, surface.data, PRIMARY, surface.width, surface.height, self._scratch
        )
        if count:
            reader.skip(start)
            self.flow.received_serial += count
            self.flow.acknowledge(count)
            self._drawn(PRIMARY, [Box(*box) for box in boxes])
            self._set_processed()

    @handles(*DRAWINGS)
    async def _draw(self, message: Draw) -> None:
        try:
            boxes = await self._painter.paint(message)
        except SpoiltError:
            if message.surface_id == PRIMARY:
                self.screen.spoilt()
            raise
        self._drawn(message.surface_id, boxes)

    def _drawn(self, surface_id: int, boxes: Sequence[Box]) -> None:
        if self._tells_wishes:
            self._tell_wishes()
        if surface_id != PRIMARY:
            return
        if self._arriving is not None:
            self._arriving.drawn(boxes)
        else:
            self.screen.damage(boxes)
            self.seems_alive()
