"""The display channel: messages drawn on surfaces, shown by a `Screen` (spec/messages.md 2, spec/canvas.md)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from caraway.canvas import raster
from caraway.canvas.region import Box, clipped
from caraway.canvas.screen import Change, Screen
from caraway.canvas.source import Brush, Pattern
from caraway.canvas.surface import Surface
from caraway.client.arrival import Arrival, Settling
from caraway.client.blinking import Blinking
from caraway.client.channel import Channel, handles
from caraway.client.connection import Connection
from caraway.client.deadline import deadline
from caraway.client.images import ImageDecoder
from caraway.client.screenshot import Screenshot
from caraway.errors import CarawayError, LinkError, ProtocolError
from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType
from caraway.wire.messages.base import Message
from caraway.wire.messages.display import (
    DisplayCapability,
    ImageCompression,
    Init,
    InvalAllPalettes,
    InvalPalette,
    Mark,
    MonitorsConfig,
    PreferredCompression,
    StreamActivateReport,
    StreamReport,
    SurfaceCreate,
    SurfaceDestroy,
    SurfaceFlags,
)
from caraway.wire.messages.draw import (
    CopyBits,
    Draw,
    DrawBlackness,
    DrawBlend,
    DrawCopy,
    DrawFill,
    DrawInvers,
    DrawOpaque,
    DrawWhiteness,
    Rop,
)
from caraway.wire.messages.images import MaskFlags, NoBrush, PatternBrush, QMask, SolidBrush
from caraway.wire.messages.shapes import Rect

if TYPE_CHECKING:
    from caraway.client.session import Session

log = logging.getLogger(__name__)

Clip = Sequence[Rect | Box] | None

PRIMARY = 0
"""Id of a display's primary surface."""

MAX_SURFACES = 10_000
"""Surfaces of a display: the deployed server's ids stay below (spec/messages.md 2.5)."""

MAX_SURFACE_PIXELS = 1 << 27
"""Pixels of all surfaces of a display: 512 MiB, twice the video memory of a large guest."""

NO_FRAMES_DECODED = 0xFFFFFFFF
"""In a stream report: this client does not decode the stream; the server sends images instead."""

INLINE_PIXELS = 1 << 14
"""Pixels up to which a scaled or masked drawing is done at once; a larger one in a worker."""

READY_DEADLINE = 30.0
STABLE_DEADLINE = 60.0


def _bands(boxes: list[Box]) -> Iterator[Box]:
    """The same pixels in pieces of some INLINE_PIXELS."""
    for box in boxes:
        rows = max(1, INLINE_PIXELS // box.width)
        for top in range(box.top, box.bottom, rows):
            yield box._replace(top=top, bottom=min(top + rows, box.bottom))


class DisplayChannel(Channel):
    """One display of the guest. What it shows is in `screen`."""

    channel_type = ChannelType.DISPLAY
    capabilities = Capabilities([DisplayCapability.MONITORS_CONFIG, DisplayCapability.STREAM_REPORT])

    def __init__(self, session: Session, id: int, connection: Connection) -> None:
        super().__init__(session, id, connection)
        self.screen = Screen()
        self._surfaces: dict[int, Surface] = {}
        self._surface_pixels = 0
        self._images = ImageDecoder(self._surface)
        self._arriving: Arrival | Settling | None = None

    def reset(self) -> None:
        """Forget all surfaces and palettes; the picture stays on the screen until the next host's is complete."""
        self._surfaces.clear()
        self._surface_pixels = 0
        self._images.forget_palettes()
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
        if self._arriving is not None:
            self._arriving.stop()

    def start(self) -> None:
        """Ask for images that this client decodes: no pixmap cache, no GLZ window, LZ."""
        self.send(Init(1, 0, 1, 0))
        self._ask_for_lz()

    def continue_on(self, connection: Connection, first: Message | None) -> None:
        """Go on at the target, which has all of the channel's state but this wish."""
        super().continue_on(connection, first)
        if self._arriving is None and self.screen.live:
            self._arriving = Settling(self.screen, self._arrived)
        self._ask_for_lz()

    def _ask_for_lz(self) -> None:
        machine = self.connection.machine
        if machine is not None and DisplayCapability.PREF_COMPRESSION in machine.server_channel:
            self.send(PreferredCompression(ImageCompression.LZ))

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

    # surfaces

    def _surface(self, id: int) -> Surface:
        try:
            return self._surfaces[id]
        except KeyError:
            raise ProtocolError(f"{self.name}: there is no surface {id}") from None

    def _forget_surface(self, id: int) -> None:
        surface = self._surfaces.pop(id, None)
        if surface is not None:
            self._surface_pixels -= surface.width * surface.height

    @handles(SurfaceCreate)
    def _surface_create(self, message: SurfaceCreate) -> None:
        self._forget_surface(message.surface_id)
        pixels = self._surface_pixels + message.width * message.height
        if pixels > MAX_SURFACE_PIXELS or len(self._surfaces) >= MAX_SURFACES:
            raise ProtocolError(
                f"{self.name}: {len(self._surfaces) + 1} surfaces of {pixels} pixels,"
                f" limits {MAX_SURFACES} and {MAX_SURFACE_PIXELS}"
            )
        surface = Surface(message.width, message.height, message.format)
        self._surfaces[message.surface_id] = surface
        self._surface_pixels = pixels
        if message.surface_id == PRIMARY or message.flags & SurfaceFlags.PRIMARY:
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
        self._forget_surface(message.surface_id)
        if message.surface_id == PRIMARY:
            self._next_picture(None)

    @handles(Mark)
    def _mark(self, message: Mark) -> None:
        if self._arriving is None:
            self.screen.mark()
        else:
            self._arriving.mark()

    @handles(MonitorsConfig)
    def _monitors_config(self, message: MonitorsConfig) -> None:
        self.screen.set_heads(message.heads)

    @handles(InvalPalette)
    def _inval_palette(self, message: InvalPalette) -> None:
        self._images.forget_palette(message.palette_id)

    @handles(InvalAllPalettes)
    def _inval_all_palettes(self, message: InvalAllPalettes) -> None:
        self._images.forget_palettes()

    @handles(StreamActivateReport)
    def _stream_activate_report(self, message: StreamActivateReport) -> None:
        self.send(StreamReport(message.stream_id, message.unique_id, 0, 0, 0, NO_FRAMES_DECODED, 0, 0xFFFFFFFF))

    # drawing

    @handles(DrawCopy)
    @handles(DrawBlend)
    async def _draw_copy(self, message: DrawCopy | DrawBlend) -> None:
        surface = self._surface(message.surface_id)
        if message.src_bitmap is None:
            return
        source = await self._images.decode(message.src_bitmap, surface)
        mask = await self._mask(message.mask, surface)

        def draw(clip: Clip) -> list[Box]:
            return raster.copy(
                surface, message.box, clip, source, message.src_area, message.rop, message.scale_mode, mask
            )

        scaled = (message.box.width, message.box.height) != (message.src_area.width, message.src_area.height)
        is_quick = source is surface or (message.rop == Rop.OP_PUT and not scaled and mask is None)
        await self._draw(message, surface, draw, is_quick=is_quick)

    @handles(DrawFill)
    async def _draw_fill(self, message: DrawFill) -> None:
        surface = self._surface(message.surface_id)
        brush = await self._brush(message.brush, surface)
        mask = await self._mask(message.mask, surface)

        def draw(clip: Clip) -> list[Box]:
            return raster.fill(surface, message.box, clip, brush, message.rop, mask)

        is_quick = message.rop == Rop.OP_PUT and isinstance(brush, int) and mask is None
        await self._draw(message, surface, draw, is_quick=is_quick)

    @handles(DrawOpaque)
    async def _draw_opaque(self, message: DrawOpaque) -> None:
        surface = self._surface(message.surface_id)
        if message.src_bitmap is None:
            return
        source = await self._images.decode(message.src_bitmap, surface)
        brush = await self._brush(message.brush, surface)
        mask = await self._mask(message.mask, surface)

        def draw(clip: Clip) -> list[Box]:
            area, rop, mode = message.src_area, message.rop, message.scale_mode
            return raster.opaque(surface, message.box, clip, source, area, brush, rop, mode, mask)

        await self._draw(message, surface, draw, is_quick=source is surface)

    @handles(DrawBlackness)
    @handles(DrawWhiteness)
    @handles(DrawInvers)
    async def _draw_plain(self, message: DrawBlackness | DrawWhiteness | DrawInvers) -> None:
        operations = {DrawBlackness: raster.blackness, DrawWhiteness: raster.whiteness, DrawInvers: raster.invers}
        operation = operations[type(message)]
        surface = self._surface(message.surface_id)
        mask = await self._mask(message.mask, surface)

        def draw(clip: Clip) -> list[Box]:
            return operation(surface, message.box, clip, mask)

        await self._draw(message, surface, draw, is_quick=mask is None and not isinstance(message, DrawInvers))

    async def _draw(
        self, message: Draw, surface: Surface, draw: Callable[[Clip], list[Box]], *, is_quick: bool
    ) -> None:
        """Draw at once, or what takes long in a worker, piece by piece, so that it can be given up."""
        if is_quick or message.box.width * message.box.height <= INLINE_PIXELS:
            self._drawn(message, draw(message.clip))
            return
        drawn: list[Box] = []
        for band in _bands(clipped(message.box, surface.bounds, message.clip)):
            drawn += await asyncio.to_thread(draw, [band])
        self._drawn(message, drawn)

    @handles(CopyBits)
    def _copy_bits(self, message: CopyBits) -> None:
        surface = self._surface(message.surface_id)
        self._drawn(message, raster.copy_bits(surface, message.box, message.clip, message.src_pos))

    def _drawn(self, message: Draw, boxes: list[Box]) -> None:
        if message.surface_id != PRIMARY:
            return
        if self._arriving is not None:
            self._arriving.drawn(boxes)
        else:
            self.screen.damage(boxes)
            self.seems_alive()

    async def _brush(self, brush: NoBrush | SolidBrush | PatternBrush, surface: Surface) -> Brush:
        match brush:
            case SolidBrush(color=color):
                return color
            case PatternBrush(pattern=pattern, pos=pos):
                return Pattern(await self._images.decode(pattern, surface), pos)
            case _:
                return None

    async def _mask(self, mask: QMask, surface: Surface) -> raster.Mask | None:
        if mask.bitmap is None:
            return None
        decoded = await self._images.decode(mask.bitmap, surface)
        return raster.Mask(decoded, mask.pos, bool(mask.flags & MaskFlags.INVERS))
