"""A link of so many bits a second with a video on it: a server's rate control, a queue, a client that reports."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from caraway.server.rate_control import QUALITIES, Arrival, RateControl

STEP = 0.002
"""Seconds of the simulation's clock."""

COSTS = (0.45, 0.62, 0.8, 1.0, 1.25, 1.6, 2.2)
"""What this video's frames cost at each quality: not quite what the rate control takes for granted."""


class Sent(NamedTuple):
    """A frame that left."""

    at: float
    size: int
    quality: int


class Link:
    """Plays a video of 30 frames a second over a link.

    bit_rate: bits a second at a time. size: bytes of a frame of quality 50. room: bytes that wait on the server's side
    before it has none. buffer: bytes that wait in between. reports: whether the client sends them. delay: seconds one
    way.
    """

    def __init__(
        self,
        bit_rate: Callable[[float], float],
        *,
        size: int = 30_000,
        delay: float = 0.02,
        room: int = 64_000,
        buffer: int = 200_000,
        reports: bool = True,
        known_rate: float | None = None,
        fps: float = 30,
        seed: int = 1,
    ) -> None:
        self.bit_rate, self.size, self.delay, self.room, self.buffer = bit_rate, size, delay, room, buffer
        self.reports, self.fps = reports, fps
        self.now = 1000.0
        self.control = RateControl(self.now, known_rate, 2 * delay, fps, reports=reports)
        self.sent: list[Sent] = []
        self.rates: list[tuple[float, float]] = []
        self.margins: list[tuple[float, int]] = []
        self.clock_behind = 400
        self._random = random.Random(seed)
        self._local: deque[list[float]] = deque()
        self._queued: deque[list[float]] = deque()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._pending: float | None = None
        self._next_frame = self.now
        self._window: list[tuple[int, int]] = []
        self._window_began = 0.0

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end:
            self.now += STEP
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            self._draw()
            self._send()
            self._carry()

    def since(self, seconds: float) -> list[Sent]:
        """The frames of the last seconds."""
        return [frame for frame in self.sent if frame.at > self.now - seconds]

    def throughput(self, seconds: float) -> float:
        """Bits a second that were sent in the last seconds."""
        return sum(frame.size for frame in self.since(seconds)) * 8 / seconds

    def late(self, seconds: float) -> float:
        """Share of the frames of the last seconds that came too late."""
        margins = [margin for at, margin in self.margins if at > self.now - seconds]
        return sum(margin < 0 for margin in margins) / len(margins)

    def _draw(self) -> None:
        if self.now >= self._next_frame:
            self._next_frame += 1 / self.fps
            if self._pending is not None:
                self.control.replaced(self._pending, self.now)
            self._pending = self.now

    def _send(self) -> None:
        waiting = sum(packet[0] for packet in self._local)
        if self._pending is None or waiting >= self.room or self.now < self.control.next_at:
            return
        quality = self.control.quality
        cost = COSTS[QUALITIES.index(quality)]
        size = int(self.size * cost * self._random.uniform(0.9, 1.1))
        time = int(self._pending * 1000)
        self._pending = None
        self.sent.append(Sent(self.now, size, quality))
        self.control.encoded(size, time, self.now)
        self.rates.append((self.now, self.control.byte_rate))
        self._local.append([size, time])

    def _carry(self) -> None:
        """The server's system takes bytes while the network's buffer has place; the network delivers at its rate."""
        while self._local and sum(packet[0] for packet in self._queued) < self.buffer:
            self._queued.append(self._local.popleft())
        budget = self.bit_rate(self.now) / 8 * STEP
        while self._queued and budget > 0:
            carried = min(budget, self._queued[0][0])
            self._queued[0][0] -= carried
            budget -= carried
            if self._queued[0][0] <= 0:
                time = int(self._queued.popleft()[1])
                self._later(self.delay, lambda time=time: self._arrive(time))

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), action))

    def _arrive(self, time: int) -> None:
        margin = time - (int((self.now - self.delay) * 1000) - self.clock_behind)
        self.margins.append((self.now, margin))
        if not self._window:
            self._window_began = self.now
        self._window.append((time, margin))
        late = all(margin < 0 for _, margin in self._window[-3:]) and len(self._window) >= 3
        if len(self._window) < 5 and self.now - self._window_began < 1 and not late:
            return
        drops = sum(margin < 0 for _, margin in self._window)
        arrival = Arrival(self._window[0][0], time, len(self._window), drops, margin)
        self._window = []
        if self.reports:
            self._later(self.delay, lambda: self._report(arrival))

    def _report(self, arrival: Arrival) -> None:
        self.control.report(arrival, self.clock_behind, self.now)
        self.clock_behind = max(self.clock_behind, self.control.required_delay)
