"""The display channel: a display's pixels for one viewer, made when the viewer can take them (spec/messages.md 2).

There is no queue of drawings. What changes makes the viewer's backlog grow, and when there is room in its flow a piece
of the backlog is encoded from the newest pixels.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from caraway.canvas.region import Box
from caraway.codecs.glz import MAX_WINDOW_PIXELS, Dictionary
from caraway.errors import CarawayError, LinkError, ProtocolError
from caraway.server.capture import Capture, rect_of
from caraway.server.channel import ServerChannel
from caraway.server.channel_streams import ChannelStreams
from caraway.server.connection import Connection
from caraway.server.damage import Backlog, Copy, Region
from caraway.server.display_options import applies
from caraway.server.encoder import Settings
from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType
from caraway.wire.messages.common import MigrateFlags
from caraway.wire.messages.display import (
    DisplayCapability,
    Head,
    ImageCompression,
    Init,
    InvalAllPalettes,
    InvalAllPixmaps,
    Mark,
    MonitorsConfig,
    PreferredCompression,
    PreferredVideoCodecType,
    StreamDestroyAll,
    StreamReport,
    SurfaceCreate,
    SurfaceDestroy,
    SurfaceFlags,
    SurfaceFormat,
)
from caraway.wire.messages.draw import CopyBits
from caraway.wire.messages.handlers import handles
from caraway.wire.messages.migrate_data import (
    BLOB_VERSION,
    CacheSerials,
    DisplayMigrateData,
    LossyDisplayMigrateData,
    LossySurface,
    LossySurfaces,
    SurfaceIds,
)
from caraway.wire.messages.shapes import Point

if TYPE_CHECKING:
    from caraway.server.guest import Guest
    from caraway.server.viewer import Viewer
    from caraway.wire.messages.migrate_data import MigrateDataBlob

TURN = 0.004
"""Seconds of encoding after which others get their turn."""

INIT_DEADLINE = 30.0
"""Seconds until the first message of a client."""

REFINE_DELAY = 0.3
"""Seconds without a change until what was sent with loss is sent without."""

MOST_DICTIONARIES = 4
"""Viewers of a display up to which each may have its own GLZ images. Images of more viewers are made once for all."""

MAX_DICTIONARY_PIXELS = 4 << 20
"""Of a viewer's GLZ images: 16 MiB here, whatever it asks for. Clients keep no less than was asked."""

MAX_ENCODERS = 4
"""Threads that deployed servers share a dictionary among; they want to be told."""

PRIMARY = 0


class DisplayChannel(ServerChannel):
    """One display of the guest, shown to one viewer."""

    channel_type = ChannelType.DISPLAY
    capabilities = Capabilities(
        [
            DisplayCapability.MONITORS_CONFIG,
            DisplayCapability.STREAM_REPORT,
            DisplayCapability.PREF_COMPRESSION,
            DisplayCapability.PREF_VIDEO_CODEC_TYPE,
        ]
    )
    acked = True
    migrate_flags = MigrateFlags.NEED_FLUSH | MigrateFlags.NEED_DATA_TRANSFER

    @classmethod
    def ids(cls, guest: Guest) -> Sequence[int]:
        return range(len(guest.displays))

    def __init__(self, viewer: Viewer, id: int, connection: Connection) -> None:
        super().__init__(viewer, id, connection)
        server = viewer.server
        display = self.guest.displays[id]
        self.options = server.display_options
        self.capture = server.captures.setdefault(display, Capture(display, self.options.streaming))
        self.backlog = Backlog()
        self.dictionary: Dictionary | None = None
        """The GLZ images that this viewer has, on all its displays."""
        self.dictionary_id = 0
        self._compression = self.options.image_compression
        self._preferred: ImageCompression | None = None
        self._takes_lz4 = DisplayCapability.LZ4_COMPRESSION in connection.client_capabilities
        self._initialized = False
        self._window_pixels = 0
        """Of the GLZ images that the client keeps, as it said."""
        self._cache = (0, 0)
        """Id and size of the client's cache of images."""
        self._arrives_first = self._follows = False
        self._surface = Box(0, 0, 0, 0)
        """Size of the viewer's primary surface."""
        self._unseen = Region()
        """What the viewer has never had of that surface; it is shown when nothing is left."""
        self._marked = True
        self._expecting_init: asyncio.TimerHandle | None = None
        self._turn: asyncio.Handle | None = None
        self._refinement: asyncio.TimerHandle | None = None
        self._lossy_since = 0.0
        self._streams: ChannelStreams | None = None
        self._frame_was_last = False

    def start(self) -> None:
        self._expecting_init = asyncio.get_running_loop().call_later(INIT_DEADLINE, self._no_init)

    def expect(self, *, reads: bool) -> None:
        super().expect(reads=reads)
        if not self._begun and self.guest.incoming:
            self._arrives_first = True
            self.listen(self.guest.incoming_changed, self._follow)

    def restore(self, state: MigrateDataBlob | None) -> None:
        """Show the difference: at the source the client got all that the guest showed when it stopped there.

        What changed between then and now is known if the client was here when the guest came.
        """
        assert isinstance(state, DisplayMigrateData)
        self._initialized = True
        self._window_pixels, self.dictionary_id = state.glz_dict_size, state.glz_dict_id
        self._cache = state.pixmap_cache_id, state.pixmap_cache_size
        self.dictionary = self._shared_dictionary() or _dictionary(state.glz_dict_size, state.last_image_id)
        self.flow.sent_serial = state.message_serial
        if state.low_bandwidth:
            self.viewer.take_for_slow()
        if state.pixmap_cache_freezer:
            self.send(InvalAllPixmaps([]))
        self.send(InvalAllPalettes())
        self._follow()
        for surface in state.surfaces.ids:
            if surface != PRIMARY:
                self.send(SurfaceDestroy(surface))
        if PRIMARY in state.surfaces.ids:
            self._surface = self.capture.box
        if not self._arrives_first:
            self.backlog.restart([self.capture.box])
        self._begin()

    def prepare(self) -> None:
        """Send all of the guest's last picture, without loss."""
        if self._streams is None:
            return
        self._streams.stop()
        self.capture.finish()
        if self._surface != self.capture.box:
            self._replace_surface()
        while self._send_piece(lossless=True):
            pass
        for box in self.backlog.lossy.take_all():
            self._send_picture(box, lossless=True)

    def recover(self) -> None:
        if self._streams is not None:
            self._streams.complete()

    def state(self) -> bytes:
        shown = [PRIMARY] if self._surface.width else []
        cache_id, cache_size = self._cache
        values = (
            BLOB_VERSION,
            self.flow.sent_serial + 1,
            self.viewer.low_bandwidth,
            cache_id,
            cache_size,
            True,
            CacheSerials(0, 0, 0, 0),
            self.dictionary_id,
            self._window_pixels,
            MAX_ENCODERS,
            self.dictionary.next_id if self.dictionary is not None else 0,
        )
        if applies(self.options.jpeg, self.viewer.low_bandwidth):
            lossless = [LossySurface(surface, 0, 0, 0, 0) for surface in shown]
            return LossyDisplayMigrateData(*values, LossySurfaces(lossless)).pack()
        return DisplayMigrateData(*values, SurfaceIds(shown)).pack()

    def closed(self) -> None:
        for handle in (self._expecting_init, self._turn, self._refinement):
            if handle is not None:
                handle.cancel()
        if self._streams is not None:
            self._streams.close()
        if self._follows:
            self.capture.detach(self)

    @property
    def is_complete(self) -> bool:
        """Whether the viewer has a surface of this size, and all of it."""
        return self._marked and not self._unseen and self._surface.width > 0 and self._surface == self.capture.box

    def wake(self) -> None:
        """Send something soon, if the viewer can take it."""
        if self._initialized and self._turn is None and self.flow.room:
            self._turn = asyncio.get_running_loop().call_soon(self._take_turn)

    def _no_init(self) -> None:
        self.fail(LinkError(f"{self.name}: no INIT within {INIT_DEADLINE:g} s"))

    @handles(Init)
    def _init(self, message: Init) -> None:
        if self._initialized:
            raise ProtocolError(f"{self.name}: a second INIT")
        self._initialized = True
        if self._expecting_init is not None:
            self._expecting_init.cancel()
        self.dictionary_id = message.glz_dictionary_id
        self._window_pixels = message.glz_dictionary_window_size
        self._cache = message.pixmap_cache_id, message.pixmap_cache_size
        self.dictionary = self._shared_dictionary() or _dictionary(message.glz_dictionary_window_size)
        self.send(InvalAllPalettes())
        self.capture.attach(self)
        self._follows = True
        self._begin()

    def _follow(self) -> None:
        """What the guest shows now the client has; count from here what it lacks."""
        if not self._follows:
            self._follows = True
            self.capture.attach(self)
            self.backlog.restart(())

    def _begin(self) -> None:
        self._streams = ChannelStreams(self)
        self.flow.on_room = self.wake
        self.wake()

    @handles(PreferredCompression)
    def _preferred_compression(self, message: PreferredCompression) -> None:
        if isinstance(message.image_compression, ImageCompression):
            self._preferred = message.image_compression

    @handles(PreferredVideoCodecType)
    def _preferred_video_codec_type(self, message: PreferredVideoCodecType) -> None:
        """There is only MJPEG."""

    @handles(StreamReport)
    def _stream_report(self, message: StreamReport) -> None:
        if self._streams is not None:
            self._streams.report(message)

    def _shared_dictionary(self) -> Dictionary | None:
        """The one of another display of this viewer, if it has the same id."""
        for channel in self.viewer.channels.values():
            if (
                isinstance(channel, DisplayChannel)
                and channel.dictionary is not None
                and channel.dictionary_id == self.dictionary_id
            ):
                return channel.dictionary
        return None

    def _take_turn(self) -> None:
        """Send some of what the viewer lacks; more of it after others have had their turn."""
        self._turn = None
        try:
            self.capture.update()
            if self._surface != self.capture.box:
                self._replace_surface()
            ends = time.monotonic() + TURN
            while self.flow.room and self._send_some():
                if time.monotonic() > ends:
                    self.wake()
                    break
            if self._streams is not None:
                self._streams.wake_in_time()
        except CarawayError as error:
            self.fail(error)

    def _replace_surface(self) -> None:
        """The display has another size: the viewer needs a surface of it."""
        if self._surface.width:
            self.send(SurfaceDestroy(PRIMARY))
            self.send(InvalAllPalettes())
            self.send(StreamDestroyAll())
        box = self._surface = self.capture.box
        self._marked = not box.width
        self._unseen = Region(self.backlog.dirty)
        if box.width:
            self.send(SurfaceCreate(PRIMARY, box.width, box.height, SurfaceFormat.XRGB32, SurfaceFlags.PRIMARY))

    def _send_some(self) -> bool:
        """Send a frame of a video or a piece of the picture, in turns. False: the viewer lacks nothing now."""
        frame, piece = self._send_frame, self._send_piece
        if self._frame_was_last and self.backlog:
            return piece() or frame()
        return frame() or piece()

    def _send_frame(self) -> bool:
        self._frame_was_last = self._streams is not None and self._streams.send_frame()
        return self._frame_was_last

    def _send_piece(self, *, lossless: bool = False) -> bool:
        """Send what takes some milliseconds to encode. False: the viewer lacks nothing."""
        backlog = self.backlog
        self._frame_was_last = False
        while backlog.copies:
            self._send_copy(backlog.copies.popleft())
        if self._unseen:
            boxes = self._unseen.take_cell()
            for box in boxes:
                backlog.dirty.remove(box)
        else:
            boxes = backlog.dirty.take_cell()
        for box in boxes:
            self._send_picture(box, lossless=lossless)
        if not self._marked and not self._unseen:
            self._mark()
        if not boxes and not lossless:
            boxes = self._refine()
        return bool(boxes)

    def _mark(self) -> None:
        """The surface is complete."""
        self._marked = True
        if DisplayCapability.MONITORS_CONFIG in self.connection.client_capabilities:
            head = Head(0, PRIMARY, self._surface.width, self._surface.height, 0, 0, 0)
            self.send(MonitorsConfig(1, [head]))
        self.send(Mark())
        if self._streams is not None:
            self._streams.complete()

    def _send_copy(self, copy: Copy) -> None:
        source = copy.source
        self.send(CopyBits(PRIMARY, rect_of(copy.box), None, Point(source.left, source.top)))

    def _send_picture(self, box: Box, *, lossless: bool) -> None:
        settings = self._settings()
        if lossless:
            settings = settings._replace(lossy=False)
        alone = len(self.capture.views) <= MOST_DICTIONARIES
        tile = self.capture.tile(box, settings, self.dictionary if alone else None)
        self.backlog.sent(box, lossy=tile.lossy)
        if tile.lossy:
            self._lossy_since = asyncio.get_running_loop().time()
        self.flow.send_body(tile.type, tile.body)

    def _refine(self) -> list[Box]:
        """Once nothing has changed for a while, send again what was sent with loss."""
        if not self.backlog.lossy:
            return []
        loop = asyncio.get_running_loop()
        due = self._lossy_since + REFINE_DELAY
        if loop.time() < due:
            if self._refinement is None:
                self._refinement = loop.call_at(due, self._refinement_due)
            return []
        boxes = self.backlog.lossy.take_cell()
        for box in boxes:
            self._send_picture(box, lossless=True)
        return boxes

    def _refinement_due(self) -> None:
        self._refinement = None
        self.wake()

    def _settings(self) -> Settings:
        slow = self.viewer.low_bandwidth
        compression = self._preferred or self._compression
        if self.connection.local and compression in (ImageCompression.AUTO_GLZ, ImageCompression.AUTO_LZ):
            compression = ImageCompression.OFF
        return Settings(
            compression, self._takes_lz4, applies(self.options.jpeg, slow), applies(self.options.zlib, slow)
        )


def _dictionary(window_pixels: int, next_id: int = 0) -> Dictionary | None:
    """A viewer's dictionary of the size that it asks for, or smaller; none where it asks for a size that cannot be."""
    if not 0 < window_pixels <= MAX_WINDOW_PIXELS:
        return None
    return Dictionary(min(window_pixels, MAX_DICTIONARY_PIXELS), next_id=next_id)
