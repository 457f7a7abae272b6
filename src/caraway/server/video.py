"""Finding what is video on a display: rectangles that are redrawn again and again with gradual pixels.

The numbers are those of spec/streams.md 2. Where a deployed server compares draw commands, this one has only damage,
whose boxes may be split, vary from frame to frame, and come together with those of a neighbour: each box of a frame
and each cluster of touching boxes is followed as a track; the largest track that repeats and looks gradual in all its
parts is a video.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol

from caraway.canvas.region import Box, bounding_box, intersect
from caraway.server.graduality import Graduality, graduality
from caraway.server.signal import Signal
from caraway.wire.fields import Buffer

MIN_AREA = 96 * 96
"""Pixels of a video with `filter`."""

MIN_FRAMES = 20
LASTING_FRAMES = 60
"""Frames from which on a video, and from which on a larger one takes the place of those within it."""

MIN_GRADUAL = 0.5
END_GRADUAL = 0.2
"""Shares of the last looks at its pixels that were gradual: with this many a video begins, with fewer it ends."""

MAX_GAP = 0.2
"""Seconds between two frames of what may be a video."""

END_GAP = 1.0
"""Seconds without a frame after which a video has ended."""

MAX_VIDEOS = 4
MAX_FPS = 60

FRAME_TIME = 0.008
"""Seconds in which the damage of one frame comes."""

_MAX_TRACKS = 48
_MAX_BOXES = 64
"""Boxes of a frame that are looked at one by one; more are a cluster of their own."""

_NEAR = 16
"""Pixels between boxes of one cluster: tiles of a video that do not change leave holes."""

_LOOK_EVERY = 5
_LOOKS = 10
"""Frames between two looks at a track's pixels, and looks that count."""

_FEW = 2
"""Frames of a track's last ones that may stick out."""

_INTERVALS = 30
"""Frames over which their rate is measured."""

_PARTS = 4
_PART_SIDE = 48
_SAMPLES = 256
_MAX_STEPPED = 0.25
"""A box is looked at in up to 4x4 parts of at least 48 pixels a side; of these so many may look like text."""

_MATCH = 0.5
"""Share of a cluster that lies within a track, and of the track within the cluster, if it is a frame of it."""

_AS_OFTEN = 0.8
"""Share of the frames of those within it that a larger video must have."""

_GROWTH = 2.0
"""By how much a video's box may grow."""


class Picture(Protocol):
    """A display's pixels: 4 bytes each, blue, green, red and one unused, rows top first, `stride` bytes apart."""

    @property
    def box(self) -> Box: ...
    @property
    def pixels(self) -> Buffer: ...
    @property
    def stride(self) -> int: ...


class Streaming(enum.StrEnum):
    """What is streamed."""

    OFF = "off"
    FILTER = "filter"
    """What looks like a video."""
    ALL = "all"
    """Whatever is redrawn repeatedly, of any size."""


class Video:
    """A rectangle of a display that shows a video.

    box: on the display; may grow. generation: counts its frames. fps: frames a second that the guest draws.
    """

    def __init__(self, box: Box, fps: float) -> None:
        self.box = box
        self.fps = fps
        self.generation = 0


class _Track:
    """What may be a video: a box that was drawn, how often, how regularly, and how it looked."""

    def __init__(self, box: Box, now: float) -> None:
        self.box = box
        self.last = now
        self.frames = 1
        self.max_gap = MAX_GAP
        self._interval = 0.0
        self._looks: deque[bool] = deque(maxlen=_LOOKS)
        self._boxes: deque[Box] = deque([box], maxlen=MIN_FRAMES)
        self._wider = box
        self._outside = 0

    def count(self, now: float) -> None:
        """A frame more; after a gap it is the first one of another video."""
        gap = now - self.last
        if gap > self.max_gap:
            self.frames, self._interval = 0, 0.0
            self._looks.clear()
        elif gap <= 0:
            return
        else:
            self._interval += (gap - self._interval) / min(self.frames, _INTERVALS)
        self.frames += 1
        self.last = now

    def cover(self, box: Box) -> Box:
        """The box to follow after a frame of nearly the same one: that of all, unless few frames stick out.

        A blinking cursor beside a video sticks out in some of its frames.
        """
        self._boxes.append(box)
        if bounding_box([self.box, box]) == self.box:
            self._outside = max(0, self._outside - 1)
            return self.box
        if not self._outside:
            self._wider = self.box
        self._wider = bounding_box([self._wider, box])
        self._outside += 3
        if self._outside <= 12:
            return self.box
        self._outside = 0
        return self._wider

    def settled(self) -> Box:
        """The box of its last frames, of which a few may stick out at each side."""
        lefts, tops, rights, bottoms = map(sorted, zip(*self._boxes, strict=True))
        few = min(_FEW, (len(self._boxes) - 1) // 2)
        return Box(lefts[few], tops[few], rights[-1 - few], bottoms[-1 - few])

    def look(self, is_gradual: bool) -> None:
        """How its pixels look now."""
        self._looks.append(is_gradual)

    @property
    def fps(self) -> float:
        return 1 / max(self._interval, 1 / MAX_FPS)

    @property
    def gradual(self) -> float | None:
        """Share of the last looks; None without any."""
        return sum(self._looks) / len(self._looks) if self._looks else None

    @property
    def is_text(self) -> bool:
        return self.gradual is not None and self.gradual < END_GRADUAL


class VideoFinder:
    """Tells which rectangles of a display are videos, from its damage and the time.

    display: whose pixels are looked at. Times are seconds of a monotonic clock. Signals come from `update` and `clear`.
    """

    def __init__(self, display: Picture, streaming: Streaming | str = Streaming.FILTER) -> None:
        self.streaming = Streaming(streaming)
        self.begun: Signal[[Video]] = Signal()
        self.ended: Signal[[Video]] = Signal()
        self.grown: Signal[[Video]] = Signal()
        """Its box has become larger."""
        self._display = display
        self._videos: dict[Video, _Track] = {}
        self._tracks: dict[Box, _Track] = {}
        self._boxes: list[Box] = []
        self._frame_began = 0.0

    @property
    def videos(self) -> list[Video]:
        """Those that are playing; they do not overlap."""
        return list(self._videos)

    @property
    def deadline(self) -> float | None:
        """When to call `update`; None while there is nothing to wait for."""
        ends = [track.last + END_GAP for track in self._videos.values()]
        if self._boxes:
            ends.append(self._frame_began + FRAME_TIME)
        return min(ends, default=None)

    def damage(self, box: Box, now: float) -> None:
        """Pixels have changed."""
        if self.streaming is Streaming.OFF:
            return
        for video in self._videos:
            if intersect(video.box, box):
                video.generation += 1
        if self._boxes and now - self._frame_began >= FRAME_TIME:
            self._close_frame()
        if not self._boxes:
            self._frame_began = now
        if len(self._boxes) < _MAX_BOXES:
            self._boxes.append(box)
        else:
            self._boxes[-1] = bounding_box([self._boxes[-1], box])

    def update(self, now: float) -> None:
        """Time has passed: a frame may be complete, a video may have ended."""
        if self._boxes and now - self._frame_began >= FRAME_TIME:
            self._close_frame()
        for video, track in list(self._videos.items()):
            if now - track.last >= END_GAP:
                self._end(video)

    def clear(self) -> None:
        """The display has other pixels, or another size."""
        self._boxes.clear()
        self._tracks.clear()
        for video in list(self._videos):
            self._end(video)

    def _begin(self, track: _Track) -> None:
        track.max_gap = END_GAP
        self._move(track, track.settled())
        video = Video(track.box, track.fps)
        self._videos[video] = track
        self.begun(video)

    def _end(self, video: Video) -> None:
        track = self._videos.pop(video)
        self._tracks.pop(track.box, None)
        self.ended(video)

    def _close_frame(self) -> None:
        now, boxes, self._boxes = self._frame_began, self._boxes, []
        clusters = _clusters(boxes)
        seen: set[_Track] = set()
        for box in dict.fromkeys(boxes):
            if box not in clusters:
                self._follow(box, now, seen)
        for box in clusters:
            self._follow(box, now, seen, is_cluster=True)
        for video, track in self._videos.items():
            if track not in seen and _covers(boxes, video.box):
                track.count(now)
                seen.add(track)
            video.fps = track.fps
        for track in seen:
            if track.frames % _LOOK_EVERY == 0:
                track.look(self._looks_gradual(track.box))
        self._find(seen)
        self._forget(now)

    def _follow(self, box: Box, now: float, seen: set[_Track], *, is_cluster: bool = False) -> None:
        """Count a frame of the track of this box; a cluster may be one of a track of nearly the same box."""
        track = self._tracks.get(box)
        if track is None and is_cluster:
            alike = (track for track in self._tracks.values() if track not in seen and _is_alike(track.box, box))
            track = next((track for track in alike if now - track.last <= track.max_gap), None)
        if track is None:
            if _area(box) < self._min_area:
                return
            track = self._tracks[box] = _Track(box, now)
        else:
            track.count(now)
            self._move(track, track.cover(box))
        seen.add(track)

    def _move(self, track: _Track, box: Box) -> None:
        """Follow another box; a track that was there is lost, unless it is a video's."""
        if box != track.box:
            del self._tracks[track.box]
            self._tracks[box] = track
            track.box = box

    @property
    def _min_area(self) -> int:
        return MIN_AREA if self.streaming is Streaming.FILTER else 1

    def _looks_gradual(self, box: Box) -> bool:
        """Whether the pixels do in most parts: text beside a photo is no video."""
        if self.streaming is Streaming.ALL:
            return True
        inside = intersect(box, self._display.box)
        if inside is None:
            return False
        parts = _parts(inside)
        pixels, stride = self._display.pixels, self._display.stride
        stepped = sum(graduality(pixels, stride, part, samples=_SAMPLES) is Graduality.LOW for part in parts)
        return stepped <= _MAX_STEPPED * len(parts)

    def _find(self, seen: Iterable[_Track]) -> None:
        """Largest first, so that the parts of which a video is drawn are not videos of their own."""
        for video, track in list(self._videos.items()):
            if track.is_text:
                self._end(video)
        ready = [track for track in seen if track.frames >= MIN_FRAMES and (track.gradual or 0) >= MIN_GRADUAL]
        waiting: list[Box] = []
        for track in sorted(ready, key=lambda track: -_area(track.box)):
            met = [video for video in self._videos if intersect(video.box, track.box)]
            is_part = any(intersect(track.box, box) == track.box for box in waiting)
            if self._holds_text(track) or (is_part and not met):
                continue
            if len(met) == 1 and self._may_grow(met[0], track):
                self._grow(met[0], track)
                continue
            if met and self._may_replace(met, track):
                for video in met:
                    self._end(video)
                met = []
            if met:
                waiting.append(track.box)
            elif len(self._videos) < MAX_VIDEOS:
                self._begin(track)

    def _grow(self, video: Video, track: _Track) -> None:
        track.max_gap = END_GAP
        video.box = track.box
        self._videos[video] = track
        self.grown(video)

    def _holds_text(self, track: _Track) -> bool:
        """Whether something within it is redrawn too and looks like text: a neighbour of the video."""
        others = (other for other in self._tracks.values() if other is not track and other.is_text)
        return any(intersect(track.box, other.box) == other.box for other in others)

    def _may_grow(self, video: Video, track: _Track) -> bool:
        box = track.box
        is_around = intersect(video.box, box) == video.box != box and _area(box) <= _GROWTH * _area(video.box)
        own = self._videos[video]
        return is_around and (own is track or own.last < track.last - MAX_GAP)

    def _may_replace(self, videos: Iterable[Video], track: _Track) -> bool:
        """Whether they were parts, as it turns out, of a larger one."""
        around = bounding_box([track.box, *(video.box for video in videos)])
        if track.frames < LASTING_FRAMES or around != track.box or track in self._videos.values():
            return False
        return track.fps >= _AS_OFTEN * max(self._videos[video].fps for video in videos)

    def _forget(self, now: float) -> None:
        """Tracks that were not seen for a while; of too many, the oldest."""
        gone = [box for box, track in self._tracks.items() if now - track.last > END_GAP]
        for box in gone:
            del self._tracks[box]
        while len(self._tracks) > _MAX_TRACKS:
            del self._tracks[min(self._tracks, key=lambda box: self._tracks[box].last)]


def _area(box: Box) -> int:
    return box.width * box.height


def _covers(boxes: Iterable[Box], box: Box) -> bool:
    """Whether what was drawn mostly inside of a box covers a good part of it: a frame need not cover all of a video."""
    parts = [(part, drawn) for drawn in boxes if (part := intersect(drawn, box))]
    return sum(_area(part) for part, drawn in parts if _area(part) * 2 >= _area(drawn)) * 8 >= _area(box)


def _is_alike(one: Box, other: Box) -> bool:
    common = intersect(one, other)
    return common is not None and _area(common) >= _MATCH * max(_area(one), _area(other))


def _clusters(boxes: Sequence[Box]) -> list[Box]:
    """The boxes around those that touch, or nearly so."""
    clusters: list[Box] = []
    for box in boxes:
        merged = True
        while merged:
            near = Box(box.left - _NEAR, box.top - _NEAR, box.right + _NEAR, box.bottom + _NEAR)
            touching = [cluster for cluster in clusters if intersect(near, cluster)]
            merged = bool(touching)
            if merged:
                clusters = [cluster for cluster in clusters if cluster not in touching]
                box = bounding_box([box, *touching])
        clusters.append(box)
    return clusters


def _parts(box: Box) -> list[Box]:
    """A box cut into parts of about the same size."""
    columns = _cuts(box.left, box.right)
    rows = _cuts(box.top, box.bottom)
    return [Box(left, top, right, bottom) for top, bottom in rows for left, right in columns]


def _cuts(start: int, end: int) -> list[tuple[int, int]]:
    count = max(1, min(_PARTS, (end - start) // _PART_SIDE))
    edges = [start + (end - start) * part // count for part in range(count + 1)]
    return list(pairwise(edges))
