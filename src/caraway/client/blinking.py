"""Text cursors that blink: they change a screen for ever, and nothing has happened."""

from __future__ import annotations

import zlib

from caraway.canvas.region import Box
from caraway.canvas.screen import Change, Screen

CHARACTER = 16 * 32
"""Pixels of the largest text cursor."""

MAX_PLACES = 64
"""Places that are watched; a screen has few cursors."""


class Blinking:
    """Recognises places no larger than a character that show the same two pictures in turn."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Box, ...], set[int]] = {}

    def explains(self, change: Change, screen: Screen) -> bool:
        """Whether a change is only a cursor that blinks: its place has shown this before, and one other picture."""
        boxes = tuple(change.boxes)
        surface = screen.surface
        if change.new_picture or surface is None or sum(box.width * box.height for box in boxes) > CHARACTER:
            return False
        if boxes not in self._seen and len(self._seen) >= MAX_PLACES:
            return False
        pictures = self._seen.setdefault(boxes, set())
        picture = 0
        for box in boxes:
            picture = zlib.crc32(surface.to_rgb(box), picture)
        known = picture in pictures
        if len(pictures) <= 2:
            pictures.add(picture)
        return known and len(pictures) <= 2
