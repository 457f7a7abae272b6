"""Drawing on 32-bit pixels, within a clip: rectangles, panels with round corners, text and lamps."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from caraway.canvas.region import Box, intersect
from caraway.embedded.font import COLUMNS, ROWS, glyph

RADIUS = 10
"""Of a panel's corners, pixels."""

Pixels = npt.NDArray[np.uint8]
"""Rows top first; blue, green, red and one unused."""


class Canvas:
    """Pixels, and the part of them that may be changed now. Colours are 0xRRGGBB."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels: Pixels = np.zeros((height, width, 4), np.uint8)
        self.box = self.clip = Box(0, 0, width, height)

    def fill(self, box: Box, color: int) -> None:
        """Paint a rectangle."""
        if part := intersect(box, self.clip):
            self._part(part).view("<u4")[:] = color

    def put(self, box: Box, pixels: Pixels) -> None:
        """Copy pixels that fill the box."""
        if part := intersect(box, self.clip):
            self._part(part)[:] = pixels[slices(part.moved(-box.left, -box.top))]

    def panel(self, box: Box, color: int, alpha: int) -> None:
        """A translucent rectangle with round corners; alpha of 0 to 256."""
        if part := intersect(box, self.clip):
            coverage = _round(box.width, box.height)[slices(part.moved(-box.left, -box.top))]
            self._blend(part, color, coverage * alpha >> 8)

    def ring(self, x: int, y: int, radius: int, color: int) -> None:
        """A circle around a dot."""
        box = Box(x - radius, y - radius, x + radius + 1, y + radius + 1)
        if part := intersect(box, self.clip):
            self._blend(part, color, _ring(radius)[slices(part.moved(-box.left, -box.top))])

    def text(self, x: int, y: int, scale: int, color: int, text: str) -> None:
        """A line of text; `scale` pixels a dot."""
        box = Box(x, y, x + len(text) * COLUMNS * scale, y + ROWS * scale)
        if part := intersect(box, self.clip):
            dots = np.concatenate([_dots(character, scale) for character in text], axis=1)
            self._part(part).view("<u4")[dots[slices(part.moved(-x, -y))]] = color

    def lamps(self, x: int, y: int, size: int, lit: int, unlit: int, text: str) -> None:
        """Text as a board of lamps, lit or not, seven rows of five for a character."""
        box = Box(x, y, x + len(text) * COLUMNS * size, y + 7 * size)
        if part := intersect(box, self.clip):
            dots = np.concatenate([_dots(character, size)[: 7 * size] for character in text], axis=1)
            lamps = _board(len(text), size)
            own = slices(part.moved(-x, -y))
            words = self._part(part).view("<u4")[..., 0]
            words[lamps[own]] = unlit
            words[(lamps & dots)[own]] = lit

    def _part(self, box: Box) -> Pixels:
        return self.pixels[slices(box)]

    def _blend(self, box: Box, color: int, alpha: npt.NDArray[np.int32]) -> None:
        part = self._part(box)[..., :3]
        wanted = np.array([color & 255, color >> 8 & 255, color >> 16], np.int32)
        part[:] = part + ((wanted - part) * alpha[..., np.newaxis] >> 8)


def slices(box: Box) -> tuple[slice, slice]:
    """A box as numpy's rows and columns."""
    return slice(box.top, box.bottom), slice(box.left, box.right)


@functools.lru_cache(1024)
def _dots(character: str, scale: int) -> npt.NDArray[np.bool_]:
    rows = [[row >> 4 - column & 1 if column < 5 else 0 for column in range(COLUMNS)] for row in glyph(character)]
    return np.kron(np.array(rows, np.uint8), np.ones((scale, scale), np.uint8)).astype(bool)


@functools.lru_cache(4)
def _board(characters: int, size: int) -> npt.NDArray[np.bool_]:
    across = np.arange(characters * COLUMNS * size)
    down = np.arange(7 * size)
    columns = (across % size < size - 1) & (across % (COLUMNS * size) < 5 * size)
    board: npt.NDArray[np.bool_] = (down % size < size - 1)[:, np.newaxis] & columns
    return board


@functools.lru_cache(16)
def _round(width: int, height: int) -> npt.NDArray[np.int32]:
    """How much of each pixel a panel covers, 0 to 256."""
    across = np.maximum(RADIUS - 0.5 - np.minimum(np.arange(width), np.arange(width)[::-1]), 0)
    down = np.maximum(RADIUS - 0.5 - np.minimum(np.arange(height), np.arange(height)[::-1]), 0)
    distance = np.hypot(down[:, np.newaxis], across)
    return _coverage(RADIUS + 0.5 - distance)


@functools.lru_cache(4)
def _ring(radius: int) -> npt.NDArray[np.int32]:
    side = np.arange(-radius, radius + 1)
    distance = np.hypot(side[:, np.newaxis], side)
    return _coverage(np.maximum(2.5 - np.abs(distance - (radius - 2)), 3.5 - distance))


def _coverage(inside: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    return (np.clip(inside, 0, 1) * 256).astype(np.int32)
