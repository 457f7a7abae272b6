"""What a viewer saw and felt of a migration: the figures of spec/migration.md 14, taken from a running session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from caraway.canvas.region import Box, intersect

if TYPE_CHECKING:
    from caraway.canvas.screen import Change, Screen
    from caraway.client import Session

KEY_PERIOD = 0.02
"""Seconds between keys."""

KEYS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class Record:
    """What happened, on the viewer's clock (seconds)."""

    frames: list[float] = field(default_factory=list)
    """When the guest's counter changed in the picture."""
    keys: list[float] = field(default_factory=list)
    """When a key was pressed."""
    blanks: list[tuple[float, float]] = field(default_factory=list)
    """From when to when the picture was not the guest's."""
    marks: dict[str, float] = field(default_factory=dict)
    """When the session told of a step."""

    @property
    def gap(self) -> tuple[float, float]:
        """Begin and end of the longest pause between two frames."""
        return max(pairwise(self.frames), key=lambda pair: pair[1] - pair[0], default=(0.0, 0.0))

    @property
    def blank(self) -> float:
        """Seconds without the guest's picture."""
        return sum(end - begin for begin, end in self.blanks)


class Recorder:
    """Watches one display and types all the while.

    counter: where in the picture the guest counts. title: where it always shows the same.
    """

    def __init__(self, session: Session, counter: Box, title: Box) -> None:
        self.record = Record()
        self._session = session
        self._screen: Screen = session.display.screen
        self._counter = counter
        self._title = title
        self._guest = self._fingerprint()
        self._blank_since: float | None = None

    async def __aenter__(self) -> Recorder:
        self._stop: Callable[[], None] = self._screen.listen(self._changed)
        self._tasks = [asyncio.create_task(self._type()), asyncio.create_task(self._follow())]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _fingerprint(self) -> bytes:
        surface = self._screen.surface
        if surface is None or surface.bounds.right < self._title.right or surface.bounds.bottom < self._title.bottom:
            return b""
        return surface.to_rgb(self._title)

    def _changed(self, change: Change) -> None:
        now = time.monotonic()
        if self._fingerprint() != self._guest:
            self._blank_since = self._blank_since or now
            return
        if self._blank_since is not None:
            self.record.blanks.append((self._blank_since, now))
            self._blank_since = None
        if any(intersect(box, self._counter) for box in change.boxes):
            self.record.frames.append(now)

    async def _type(self) -> None:
        inputs = self._session.inputs
        due = time.monotonic()
        while True:
            key = KEYS[len(self.record.keys) % len(KEYS)]
            self.record.keys.append(time.monotonic())
            inputs.key_down(key)
            inputs.key_up(key)
            due += KEY_PERIOD
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _follow(self) -> None:
        async for report in self._session.migrations():
            self.record.marks[type(report).__name__] = time.monotonic()
