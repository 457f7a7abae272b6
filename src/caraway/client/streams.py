"""Video streams of a display channel: frames wait for their time, never for long; reports tell how they came.

See spec/streams.md 1, 4 and 5. Nothing here reads a clock or draws: the display channel hands over messages and the
time in seconds of a monotonic clock, draws the frames that it gets back, and asks again at `Streams.deadline`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from caraway.client.media_clock import MediaClock, difference
from caraway.codecs import mjpeg, video
from caraway.codecs.bitmap import Bitmap, flipped
from caraway.errors import ProtocolError
from caraway.wire.fields import Buffer
from caraway.wire.messages.display import (
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

MAX_STREAMS = 64
"""Streams of a display: the server's ids stay below (spec/messages.md 2.9)."""

MAX_FRAMES = 60
MAX_BYTES = 8 << 20
"""Frames of a stream that wait, and their bytes: a second of 60 frames, which no server sends ahead."""

MAX_ALL_BYTES = 32 << 20
"""Bytes of frames that wait on all streams of a display: four streams to the full, where two are usual. A frame that
has no place does not wait, nor do those before it."""

MAX_AHEAD = 0.5
"""Seconds that a frame waits at most. A server is 0.4 s ahead unless the way is slow; a frame that seems further ahead
may have the time of another host."""

STANDSTILL = 0.5
"""Seconds after the last shown frame from which on a late one is shown rather than nothing."""

UNSTAMPED_MARGIN = 100
"""Milliseconds that a frame without a time counts as early."""

LATE_IN_A_ROW = 3
"""Late frames after which a report does not wait for the rest of its window."""

NOT_DECODED = 0xFFFFFFFF
"""In a report without frames: this client does not decode the stream; the server sends images instead."""

NO_AUDIO = 0xFFFFFFFF


def can_decode(codec: int) -> bool:
    """Whether this client has a decoder: always for MJPEG, with the extra `video` for the others."""
    return codec == VideoCodec.MJPEG or (codec in video.CODECS and video.is_available())


@dataclass(slots=True)
class Frame:
    """A coded frame whose turn has come.

    stream: decodes it, and has the clip to draw it with. dest: on the stream's surface. is_shown: False for a late one,
    which must be decoded all the same, because later ones depend on it.
    """

    stream: Stream
    time: int
    dest: Rect
    data: Buffer
    latest: float
    is_shown: bool = True


class Stream:
    """One stream: where it is drawn, its waiting frames, its decoder.

    at_once: its surface is flagged STREAMING_MODE; its frames do not wait unless audio plays.
    """

    def __init__(self, message: StreamCreate, clock: MediaClock, *, at_once: bool = False) -> None:
        self.id = message.stream_id
        self.surface_id = message.surface_id
        self.codec = message.codec
        self.dest = message.dest
        self.clip = message.clip
        self.is_top_down = bool(message.flags & StreamFlags.TOP_DOWN)
        self.is_decodable = can_decode(message.codec)
        self.reporting: Reporting | None = None
        self._clock = clock
        self._at_once = at_once
        self._waiting: deque[Frame] = deque()
        self._waiting_bytes = 0
        self._shown_at: float | None = None
        self._decoder: mjpeg.Decoder | video.Decoder | None = None
        self.pixels: int | None = None
        """Of the largest frame so far; None before the first one that could be decoded."""

    @property
    def has_decoder(self) -> bool:
        """Whether its decoder could be made: known once there was a frame to decode."""
        return self._decoder is not None

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the frames that wait."""
        return self._waiting_bytes

    def receive(self, message: StreamData | StreamDataSized, margin: int, room: int, now: float) -> list[Frame]:
        """Take a frame; gives those whose turn it is now, itself among them unless its time is to come.

        margin: milliseconds by which it is early. A frame without a time is shown at once.
        room: bytes of frames that may wait.
        """
        dest = message.dest if isinstance(message, StreamDataSized) else self.dest
        time = message.multi_media_time or self._clock.now(now)
        frame = Frame(self, time, dest, message.data, now + MAX_AHEAD)
        passed: list[Frame] = []
        if self._waiting and difference(frame.time, self._waiting[-1].time) < 0:
            passed = self._take(len(self._waiting))
        if margin < 0 and self._is_independent() and not self._stands_still(now):
            return []
        self._waiting.append(frame)
        self._waiting_bytes += len(frame.data)
        while len(self._waiting) > MAX_FRAMES or (self._waiting_bytes > MAX_BYTES and len(self._waiting) > 1):
            passed += self._take(1)
        if self._waiting_bytes > room:
            for frame in self._waiting:
                frame.latest = now
        return self._turn(passed, now)

    def due(self, now: float) -> list[Frame]:
        """The frames whose time has come, in the order in which they must be decoded; the last one is to be shown."""
        return self._turn([], now)

    def deadline(self, now: float) -> float | None:
        """When to ask for the next frame; None if none waits."""
        if not self._waiting:
            return None
        frame = self._waiting[0]
        return min(frame.latest, now + max(0, self._clock.margin(frame.time, now)) / 1000)

    def decode(self, frame: Frame) -> Bitmap | None:
        """The picture of a frame, the top row first; None if there is nothing to show.

        Frames must come in the order in which they were given out. The picture's size is the frame's own: draw it
        scaled to `frame.dest`.
        Raises CodecError; the stream goes on.
        """
        if self._decoder is None:
            self._decoder = mjpeg.Decoder() if self._is_independent() else video.Decoder(self.codec)
        if isinstance(self._decoder, mjpeg.Decoder):
            picture = self._decoder.decode(frame.data) if frame.is_shown else None
        else:
            picture = self._decoder.decode(frame.data, shown=frame.is_shown)
        if picture is None:
            return None
        self.pixels = max(self.pixels or 0, picture.width * picture.height)
        return picture if self.is_top_down else flipped(picture)

    def _turn(self, passed: list[Frame], now: float) -> list[Frame]:
        count = 0
        for frame in self._waiting:
            if now < frame.latest and self._clock.margin(frame.time, now) > 0 and not self._is_hurried():
                break
            count += 1
        due = self._take(count)
        for frame in (*passed, *due[:-1]):
            frame.is_shown = False
        if due:
            self._shown_at = now
        return due[-1:] if self._is_independent() else passed + due

    def _take(self, count: int) -> list[Frame]:
        taken = [self._waiting.popleft() for _ in range(count)]
        self._waiting_bytes -= sum(len(frame.data) for frame in taken)
        return taken

    def _is_independent(self) -> bool:
        """Whether a frame needs no other, so that a late one need not be decoded."""
        return self.codec == VideoCodec.MJPEG

    def _is_hurried(self) -> bool:
        return self._at_once and self._clock.audio_delay is None

    def _stands_still(self, now: float) -> bool:
        return self._shown_at is None or now - self._shown_at >= STANDSTILL


class Reporting:
    """Counts a stream's frames as they arrive, and tells when they make a report."""

    def __init__(self, message: StreamActivateReport) -> None:
        self.unique_id = message.unique_id
        self._stream_id = message.stream_id
        self._window = message.max_window_size
        self._timeout = message.timeout_ms / 1000
        self._restart()

    def _restart(self) -> None:
        self._frames = self._drops = self._late_in_a_row = 0

    def count(self, time: int, margin: int, audio_delay: int | None, now: float) -> StreamReport | None:
        """One frame more, early by `margin` milliseconds; the report if it completes one."""
        if self._frames == 0:
            self._start_time, self._started = time, now
        self._frames += 1
        if margin < 0:
            self._drops += 1
            self._late_in_a_row += 1
        else:
            self._late_in_a_row = 0
        is_full = self._frames >= self._window or now - self._started >= self._timeout
        if not is_full and self._late_in_a_row < LATE_IN_A_ROW:
            return None
        report = StreamReport(
            self._stream_id,
            self.unique_id,
            self._start_time,
            time,
            self._frames,
            self._drops,
            margin,
            NO_AUDIO if audio_delay is None else audio_delay,
        )
        self._restart()
        return report


class Streams:
    """The streams of one display channel. Kept in a seamless move; cleared where the channel's state is.

    clock: the session's; after it was set, ask `deadline` again.
    """

    def __init__(self, clock: MediaClock) -> None:
        self._clock = clock
        self._streams: dict[int, Stream] = {}
        self._reports: list[StreamReport] = []
        self._refused: set[int] = set()

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams.values())

    def __len__(self) -> int:
        return len(self._streams)

    def create(self, message: StreamCreate, *, at_once: bool = False) -> Stream:
        """STREAM_CREATE. A stream of the same id, which its server knows no more of, is replaced.

        at_once: its surface is flagged STREAMING_MODE.
        Raises ProtocolError if there are too many streams.
        """
        if message.stream_id not in self._streams and len(self._streams) >= MAX_STREAMS:
            raise ProtocolError(f"more than {MAX_STREAMS} streams")
        self._refused.discard(message.stream_id)
        stream = self._streams[message.stream_id] = Stream(message, self._clock, at_once=at_once)
        return stream

    def receive(self, message: StreamData | StreamDataSized, now: float) -> list[Frame]:
        """STREAM_DATA and STREAM_DATA_SIZED. Gives the frames to decode now, in this order.

        Without a stream or a decoder there are none; the server is told, once.
        """
        stream = self._streams.get(message.stream_id)
        if stream is None or not stream.is_decodable:
            self._refuse(message.stream_id, stream)
            return []
        time = message.multi_media_time
        margin = self._clock.margin(time, now) if time else UNSTAMPED_MARGIN
        if stream.reporting is not None:
            report = stream.reporting.count(time, margin, self._clock.audio_delay, now)
            if report is not None:
                self._reports.append(report)
        others = sum(other.waiting_bytes for other in self._streams.values() if other is not stream)
        return stream.receive(message, margin, MAX_ALL_BYTES - others, now)

    def clip(self, message: StreamClip) -> None:
        """STREAM_CLIP: also for the frames that wait."""
        if stream := self._streams.get(message.stream_id):
            stream.clip = message.clip

    def activate_report(self, message: StreamActivateReport) -> None:
        """STREAM_ACTIVATE_REPORT: count from now on; a stream that is not decoded is refused at once."""
        stream = self._streams.get(message.stream_id)
        if stream is None:
            return
        stream.reporting = Reporting(message)
        if not stream.is_decodable:
            self._refused.discard(message.stream_id)
            self._refuse(message.stream_id, stream)

    def refuse(self, stream: Stream) -> None:
        """Give a stream up, which turned out not to be decodable; its server sends images instead."""
        stream.is_decodable = False
        if self._streams.get(stream.id) is stream:
            self._refuse(stream.id, stream)

    def destroy(self, message: StreamDestroy) -> None:
        """STREAM_DESTROY: frames that wait are void, the surface keeps the last one shown."""
        self._streams.pop(message.stream_id, None)

    def clear(self) -> None:
        """STREAM_DESTROY_ALL, and the loss of the channel's state."""
        self._streams.clear()
        self._refused.clear()
        self._reports.clear()

    def due(self, now: float) -> list[Frame]:
        """The frames whose time has come, each stream's in the order in which they must be decoded."""
        return [frame for stream in self._streams.values() for frame in stream.due(now)]

    def deadline(self, now: float) -> float | None:
        """When to ask for the next frames; None if none wait."""
        deadlines = [stream.deadline(now) for stream in self._streams.values()]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def take_reports(self) -> list[StreamReport]:
        """Reports to send, if the server has STREAM_REPORT."""
        reports, self._reports = self._reports, []
        return reports

    def _refuse(self, stream_id: int, stream: Stream | None) -> None:
        if stream_id in self._refused or len(self._refused) >= MAX_STREAMS:
            return
        self._refused.add(stream_id)
        unique_id = stream.reporting.unique_id if stream is not None and stream.reporting is not None else 0
        self._reports.append(StreamReport(stream_id, unique_id, 0, 0, 0, NOT_DECODED, 0, 0))
