"""How often a video's frames are sent to a viewer, and how well: the rate control of MJPEG (spec/streams.md 6.1).

Three things are told apart. The *byte rate* follows the link: reports of the client say how early the last frame came,
so between two of them it is known how fast the link delivered, and how long a queue there is on the way. The *quality*
follows from the byte rate and what frames cost, by the thresholds of the specification. *Pacing* spends the byte rate
evenly. Where a deployed server tries qualities out on the viewer, this one knows how sizes go with qualities, and
corrects itself with each frame. Times are seconds of a monotonic clock, media times are milliseconds modulo 2**32.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

QUALITIES = (20, 30, 40, 50, 60, 70, 80)

MIN_FPS, MAX_FPS = 0.2, 25
"""A link that is too slow for a frame a second at the lowest quality gets even fewer."""

DEFAULT_BIT_RATE = 10 << 20
"""Of a link that was not measured."""

MAX_DELAY = 5000
"""Milliseconds that a client may have to show frames later."""

_SHARE = 0.8
"""Of a link's rate that a video begins with."""

_MIN_BYTE_RATE = 4096.0
_START = 3
"""The quality to begin with, an index."""

_COSTS = (0.53, 0.69, 0.84, 1.0, 1.17, 1.43, 1.9)
"""What frames of each quality cost, in terms of one of quality 50; pictures differ from this by a fifth or so."""

_GOOD_FPS, _FAIR_FPS = 10, 5
"""Frames a second that better and worse qualities than the first one must leave."""

_UP, _DOWN = 1.2, 0.9
"""By how much these must be passed for a better quality, or missed for a worse one."""

_QUALITY_DWELL = 1.0
_RATE_DWELL = 2.0
"""Seconds after a change before the quality, or the rate, is raised."""

_LEARNING = 0.3
"""Weight of a frame in the average of what frames cost."""

_LATE = -15
"""Milliseconds of margin below which a frame came late."""

_QUEUE = 60
"""Milliseconds of queue on the way that are nothing but variation, besides the time that a frame takes."""

_BEST_WINDOW = 10.0
"""Seconds for which the best margin counts as that of an empty way. A client's clock may be set meanwhile."""

_BACK_OFF = 0.9
_RAISE = 1.25
_PROBE = 1.1
"""Factors of the rate: on congestion, of what was delivered; without; and beyond what was too much before."""

_PROBE_AFTER, _PROBE_AFTER_MAX = 10.0, 120.0
"""Seconds between such attempts; twice as many after each one that fails."""

_MAX_PAUSE = 1.0
"""Seconds in which a queue may drain."""

_MAX_DROPS = 0.1
"""Share of frames that may find no room."""

_DROP_WINDOW = 1.0
_PATIENCE = 0.02
"""Seconds that a frame may wait for room before it counts as dropped when the next one comes."""

_MAX_SENT = 512
_MAX_MARGINS = 64
"""What is kept of frames that no report has told of, and of reports."""


class Arrival(NamedTuple):
    """What a client reports: frames that came since the report before.

    start, end: media times of the first and the last. margin: milliseconds by which the last was early.
    """

    start: int
    end: int
    frames: int
    drops: int
    margin: int


class RateControl:
    """Decides for one stream of one viewer when the next frame is due and what quality it has.

    bit_rate: of the link, if known. round_trip: seconds. fps: what the guest draws; set `source_fps` when it changes.
    reports: whether the client sends them; without, only room tells of the link.
    """

    def __init__(
        self,
        now: float,
        bit_rate: float | None = None,
        round_trip: float = 0.0,
        fps: float = MAX_FPS,
        *,
        reports: bool = True,
    ) -> None:
        self.byte_rate = max(_MIN_BYTE_RATE, (bit_rate or DEFAULT_BIT_RATE) / 8 * _SHARE)
        self.source_fps = fps
        self.next_at = now
        """When the next frame is due."""
        self._round_trip = round_trip
        self._reports = reports
        self._level = _START
        self._unit = 0.0
        self._measured_delay = 0.0
        self._quality_changed = self._rate_changed = now
        self._changed_time: int | None = None
        self._ceiling: float | None = None
        self._probe_at = now
        self._probe_after = _PROBE_AFTER
        self._sent: deque[tuple[int, int]] = deque(maxlen=_MAX_SENT)
        self._margins: deque[tuple[float, int]] = deque(maxlen=_MAX_MARGINS)
        self._arrived: int | None = None
        self._delay: int | None = None
        self._window_began = now
        self._window_bytes = self._window_frames = self._window_drops = 0
        self._used = 0.0

    @property
    def quality(self) -> int:
        """Of the next frame, 20 to 80."""
        return QUALITIES[self._level]

    @property
    def fps(self) -> float:
        """Frames a second that the byte rate allows now."""
        return max(MIN_FPS, min(MAX_FPS, self.source_fps, self._fps_of(self._level)))

    @property
    def required_delay(self) -> int:
        """Milliseconds that the client's clock has to be behind for frames to come in time."""
        return int(min(MAX_DELAY, max(self._measured_delay, self._needed_margin())))

    def encoded(self, size: int, time: int, now: float) -> None:
        """A frame of that many bytes leaves."""
        self._sent.append((time, size))
        unit = size / _COSTS[self._level]
        self._unit = unit if not self._unit else self._unit + (unit - self._unit) * _LEARNING
        interval = min(1 / MIN_FPS, max(size / self.byte_rate, 1 / MAX_FPS))
        self.next_at = max(self.next_at, now - interval) + interval
        self._window_bytes += size
        self._window_frames += 1
        self._end_window(now)
        self._choose_quality(now)

    def replaced(self, waiting_since: float, now: float) -> None:
        """A frame that waited is void, because the next one came."""
        if now - max(waiting_since, self.next_at) > _PATIENCE:
            self._window_drops += 1
            self._end_window(now)

    def report(self, arrival: Arrival, delay: int, now: float) -> None:
        """The client has told how frames came. delay: milliseconds that its clock is behind."""
        self._follow_clock(delay, now)
        delivered = self._delivered(arrival)
        queue = self._queue(arrival.margin, now)
        changed = self._changed_time
        if changed is not None and _difference(arrival.start, changed) <= 0:
            return
        limit = _QUEUE + self._needed_margin()
        is_late = arrival.drops > 0 or arrival.margin < _LATE
        if queue > limit:
            if delivered is not None:
                self._ceiling = delivered
                self._decrease(delivered if is_late else max(delivered, self.byte_rate / 2), now)
                self.next_at = max(self.next_at, now + min(queue / 1000, _MAX_PAUSE))
        elif queue < limit / 2 and arrival.margin < self._needed_margin():
            self._measured_delay = max(self._measured_delay, delay + self._needed_margin() - arrival.margin)
        elif queue < limit / 2 and not is_late:
            self._increase(now)

    def _follow_clock(self, delay: int, now: float) -> None:
        """Margins count from the client's clock: an empty way leaves all of the delay, and what the clock is set by."""
        if self._delay is None and self._sent:
            self._margins.append((now, delay))
            self._arrived = self._sent[0][0] - delay
        elif self._delay is not None and delay != self._delay:
            shift = delay - self._delay
            shifted = [(at, margin + shift) for at, margin in self._margins]
            self._margins = deque(shifted, maxlen=_MAX_MARGINS)
            self._changed_time = self._sent[-1][0] if self._sent else self._changed_time
        self._delay = delay

    def _needed_margin(self) -> float:
        """Milliseconds that two frames take, and half a round trip."""
        frame = self._unit * _COSTS[self._level] / self.byte_rate
        return (2 * frame + self._round_trip / 2) * 1000

    def _delivered(self, arrival: Arrival) -> float | None:
        """Bytes a second that came between the last frame of the report before and that of this one."""
        size = 0
        while self._sent and _difference(self._sent[0][0], arrival.end) <= 0:
            size += self._sent.popleft()[1]
        before, self._arrived = self._arrived, arrival.end - arrival.margin
        if before is None or not size:
            return None
        elapsed = _difference(self._arrived, before)
        return size * 1000 / elapsed if elapsed > 0 else None

    def _queue(self, margin: int, now: float) -> int:
        """Milliseconds that the last frame was longer on its way than the fastest of late."""
        margins = self._margins
        while margins and margins[-1][1] <= margin:
            margins.pop()
        while margins and now - margins[0][0] > _BEST_WINDOW:
            margins.popleft()
        margins.append((now, margin))
        return margins[0][1] - margin

    def _end_window(self, now: float) -> None:
        elapsed = now - self._window_began
        if elapsed < _DROP_WINDOW:
            return
        self._used = self._window_bytes / elapsed
        wanted = self._window_frames + self._window_drops
        has_dropped = self._window_drops > _MAX_DROPS * wanted
        self._window_began = now
        self._window_bytes = self._window_frames = self._window_drops = 0
        if has_dropped and now - self._rate_changed >= _DROP_WINDOW:
            self._ceiling = self._used
            self._decrease(max(self._used, self.byte_rate / 2), now)
            if not self._reports:
                self.next_at = max(self.next_at, now + _MAX_PAUSE)
        elif not has_dropped and not self._reports:
            self._increase(now)

    def _decrease(self, delivered: float, now: float) -> None:
        if now - self._probe_at < 2 * (_RATE_DWELL + 2 * self._round_trip):
            self._probe_after = min(_PROBE_AFTER_MAX, self._probe_after * 2)
        self._set_rate(min(self.byte_rate, delivered) * _BACK_OFF, now)

    def _increase(self, now: float) -> None:
        """More, if it would be used; carefully where it was too much before."""
        if now - self._rate_changed < _RATE_DWELL + 2 * self._round_trip or not self._is_limited():
            return
        rate = self.byte_rate * _RAISE
        if self._ceiling is not None and rate > self._ceiling * _BACK_OFF:
            known = self._ceiling * _BACK_OFF
            if self.byte_rate < known * 0.95:
                rate = known
            elif now - max(self._probe_at, self._rate_changed) < self._probe_after:
                return
            else:
                rate = self.byte_rate * _PROBE
                self._probe_at = now
                if rate > self._ceiling:
                    self._ceiling, self._probe_after = None, _PROBE_AFTER
        self._set_rate(rate, now)

    def _is_limited(self) -> bool:
        """Whether there is a better picture to be had for more bytes, and the rate is used."""
        is_best = self._level == len(QUALITIES) - 1 and self._fps_of(self._level) >= min(MAX_FPS, self.source_fps)
        return not is_best and self._used >= self.byte_rate / 2

    def _set_rate(self, rate: float, now: float) -> None:
        self.byte_rate = max(_MIN_BYTE_RATE, rate)
        self._rate_changed = now
        if self._sent:
            self._changed_time = self._sent[-1][0]
        self._choose_quality(now)

    def _choose_quality(self, now: float) -> None:
        """The best one that leaves enough frames a second; a better one not too soon."""
        if not self._unit:
            return
        level = max((level for level in range(len(QUALITIES)) if self._suits(level)), default=0)
        if level > self._level:
            if now - self._quality_changed < _QUALITY_DWELL:
                return
            level = self._level + 1
        if level != self._level:
            self._level, self._quality_changed = level, now

    def _suits(self, level: int) -> bool:
        wanted = min(_GOOD_FPS if level > _START else _FAIR_FPS, self.source_fps)
        return self._fps_of(level) >= wanted * (_UP if level > self._level else _DOWN)

    def _fps_of(self, level: int) -> float:
        return self.byte_rate / (self._unit * _COSTS[level]) if self._unit else MAX_FPS


def _difference(one: int, other: int) -> int:
    """By how many milliseconds a media time is later than another."""
    return (one - other + (1 << 31)) % (1 << 32) - (1 << 31)
