"""Video streams to one viewer: ids, messages, which frame is due; and encoded frames, shared by viewers.

See spec/streams.md 1, 2.3 and 5.4, and spec/messages.md 2.9. Nothing here reads a clock or sends: the display channel
passes damage and time, sends the messages that it gets, and asks for the next frame when there is room. Times are
seconds of a monotonic clock; media times are the server's, milliseconds modulo 2**32.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from caraway.canvas.region import Box, intersect
from caraway.codecs import jpeg
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.errors import CodecError
from caraway.server.rate_control import DEFAULT_BIT_RATE, Arrival, RateControl
from caraway.server.video import FRAME_TIME, Picture, Video
from caraway.wire.capabilities import Capabilities
from caraway.wire.messages.base import Message
from caraway.wire.messages.display import (
    DisplayCapability,
    StreamActivateReport,
    StreamClip,
    StreamCreate,
    StreamData,
    StreamDataSized,
    StreamDestroy,
    StreamFlags,
    StreamReport,
    VideoCodec,
)
from caraway.wire.messages.shapes import Rect

STREAM_IDS = 50
"""Ids are below, as a deployed server's: clients bound them."""

REPORT_WINDOW, REPORT_TIMEOUT = 5, 1000
"""Frames, and milliseconds, after which a client reports."""

NOT_DECODED = 0xFFFFFFFF
"""In a report without frames: the client does not decode the stream."""

_CACHED_FRAMES = 8
"""A few videos in a few qualities."""


@dataclass(slots=True)
class Frame:
    """A frame whose turn has come: to be encoded, and sent if its stream is still there.

    time: media time of its pixels.
    """

    stream: Stream
    box: Box
    quality: int
    time: int


class FrameCache:
    """Encoded frames of a display, for all of its viewers."""

    def __init__(self, display: Picture) -> None:
        self._display = display
        self._frames: OrderedDict[tuple[Video, int, Box, int], bytes] = OrderedDict()

    def jpeg(self, frame: Frame) -> bytes:
        """The newest pixels as a JPEG of its own, 4:2:0, with all tables.

        Raises CodecError if the display is no longer of a size that the video fits in.
        """
        video = frame.stream.video
        key = (video, video.generation, frame.box, frame.quality)
        coded = self._frames.get(key)
        if coded is None:
            coded = self._frames[key] = jpeg.encode(_picture(self._display, frame.box), frame.quality)
            while len(self._frames) > _CACHED_FRAMES:
                self._frames.popitem(last=False)
        return coded

    def clear(self) -> None:
        """The display has other pixels."""
        self._frames.clear()


def _picture(display: Picture, box: Box) -> Bitmap:
    if intersect(box, display.box) != box:
        raise CodecError(f"video at {tuple(box)} on a display of {display.box.width}x{display.box.height} pixels")
    rows = memoryview(display.pixels)[box.top * display.stride + box.left * 4 :]
    return Bitmap(box.width, box.height, PixelFormat.BGRX32, display.stride, rows)


class Stream:
    """One video as one viewer sees it.

    dest: the box that the client was told when it began. waiting_since: when there was a frame to send; None if none.
    """

    def __init__(self, id: int, unique_id: int, video: Video, rate: RateControl) -> None:
        self.id, self.unique_id, self.video, self.rate = id, unique_id, video, rate
        self.dest = video.box
        self.waiting_since: float | None = None
        self._time = 0

    def damaged(self, time: int, now: float) -> None:
        """There is a new frame, or more of it; one that still waits is void."""
        if self.waiting_since is not None and now - self.waiting_since >= FRAME_TIME:
            self.rate.replaced(self.waiting_since, now)
            self.waiting_since = None
        if self.waiting_since is None:
            self.waiting_since = now
        self._time = time

    def take(self) -> Frame:
        """The frame that waits, for which there is room now."""
        self.waiting_since = None
        return Frame(self, self.video.box, self.rate.quality, self._time)


class Streams:
    """The streams of one viewer's display channel.

    capabilities: the client's. bit_rate, round_trip: of its link, bits a second and seconds, if known.
    """

    def __init__(
        self, capabilities: Capabilities, bit_rate: float | None = None, round_trip: float | None = None
    ) -> None:
        self.bit_rate, self.round_trip = bit_rate, round_trip
        self._streams: dict[Video, Stream] = {}
        self._free = list(range(STREAM_IDS))
        self._begun = 0
        self._sized = DisplayCapability.SIZED_STREAM in capabilities
        self._reports = DisplayCapability.STREAM_REPORT in capabilities
        multi = DisplayCapability.MULTI_CODEC in capabilities
        self._possible = not multi or DisplayCapability.CODEC_MJPEG in capabilities

    @property
    def boxes(self) -> list[Box]:
        """Where streams are: no image is sent for what changes there."""
        return [stream.video.box for stream in self._streams.values()]

    @property
    def required_delay(self) -> int:
        """Milliseconds that the client's clock has to be behind for all frames to come in time."""
        return max((stream.rate.required_delay for stream in self._streams.values()), default=0)

    def begin(self, video: Video, time: int, now: float) -> list[Message]:
        """Stream a video from now on; its first frame is due at once. Nothing if this client takes no streams."""
        if not self._possible or not self._free or video in self._streams:
            return []
        self._begun += 1
        rate = RateControl(now, self._initial_rate(video), self.round_trip or 0.0, video.fps, reports=self._reports)
        stream = self._streams[video] = Stream(self._free.pop(), self._begun, video, rate)
        stream.damaged(time, now)
        box = video.box
        create = StreamCreate(
            0,
            stream.id,
            StreamFlags.TOP_DOWN,
            VideoCodec.MJPEG,
            0,
            box.width,
            box.height,
            box.width,
            box.height,
            _rect(box),
            None,
        )
        if not self._reports:
            return [create]
        return [create, StreamActivateReport(stream.id, stream.unique_id, REPORT_WINDOW, REPORT_TIMEOUT)]

    def _initial_rate(self, video: Video) -> float:
        """The link's rate, or what streams were found to get; shared by area."""
        found = sum(stream.rate.byte_rate * 8 for stream in self._streams.values())
        area = _area(video.box)
        others = sum(map(_area, self.boxes))
        return max(self.bit_rate or DEFAULT_BIT_RATE, found) * area / (area + others)

    def end(self, video: Video) -> list[Message]:
        """Stream it no more. If there is anything to send, its box must be shown by images again, without loss.

        The empty clip hides the frames that wait at the client, whose images must not be drawn over.
        """
        stream = self._streams.pop(video, None)
        if stream is None:
            return []
        self._free.append(stream.id)
        return [StreamClip(stream.id, []), StreamDestroy(stream.id)]

    def grow(self, video: Video, time: int, now: float) -> list[Message]:
        """Its box has become larger. A client that takes no frames of other sizes gets another stream."""
        stream = self._streams.get(video)
        if stream is None:
            return []
        if self._sized:
            stream.damaged(time, now)
            return []
        return [*self.end(video), *self.begin(video, time, now)]

    def clear(self) -> None:
        """The client has no streams any more: STREAM_DESTROY_ALL, or the end of the surface."""
        self._streams.clear()
        self._free = list(range(STREAM_IDS))

    def damaged(self, box: Box, time: int, now: float) -> None:
        """Pixels have changed: streams there have a frame to send."""
        for stream in self._streams.values():
            if intersect(stream.video.box, box):
                stream.damaged(time, now)

    def due(self, now: float) -> Frame | None:
        """Take the frame that has waited longest of those whose time it is, to be encoded and sent."""
        due = [stream for stream in self._waiting() if stream.rate.next_at <= now]
        return min(due, key=lambda stream: stream.waiting_since or 0.0).take() if due else None

    def message(self, frame: Frame, coded: bytes, now: float) -> Message | None:
        """What to send now of a frame that is encoded; None if its stream has ended meanwhile."""
        stream, box = frame.stream, frame.box
        if self._streams.get(stream.video) is not stream:
            return None
        stream.rate.source_fps = stream.video.fps
        stream.rate.encoded(len(coded), frame.time, now)
        if box == stream.dest:
            return StreamData(stream.id, frame.time, coded)
        return StreamDataSized(stream.id, frame.time, box.width, box.height, _rect(box), coded)

    @property
    def deadline(self) -> float | None:
        """When `due` gives the next one; None while no frame waits."""
        return min((stream.rate.next_at for stream in self._waiting()), default=None)

    def _waiting(self) -> list[Stream]:
        return [stream for stream in self._streams.values() if stream.waiting_since is not None]

    def report(self, report: StreamReport, delay: int, now: float) -> list[Video]:
        """The client has told how frames came. delay: milliseconds that its clock is behind.

        Gives the videos to `end`, if the client cannot decode them; there are no streams for it from then on.
        """
        if report.num_frames == 0:
            if report.num_drops != NOT_DECODED:
                return []
            self._possible = False
            return list(self._streams)
        stream = next((stream for stream in self._streams.values() if stream.id == report.stream_id), None)
        if stream is not None and stream.unique_id == report.unique_id:
            arrival = Arrival(
                report.start_frame_mm_time,
                report.end_frame_mm_time,
                report.num_frames,
                report.num_drops,
                report.last_frame_delay,
            )
            stream.rate.report(arrival, delay, now)
        return []


def _rect(box: Box) -> Rect:
    return Rect(box.top, box.left, box.bottom, box.right)


def _area(box: Box) -> int:
    return box.width * box.height
