"""What never changes on the guest's desktop: its ground, panels, the terminal's window and the words on them."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from caraway.canvas.region import Box
from caraway.embedded.drawing import Canvas, Pixels
from caraway.embedded.font import COLUMNS
from caraway.embedded.layout import (
    AMBER,
    BAR,
    DARK,
    FAINT,
    GREEN,
    INK,
    MARGIN,
    RED,
    SCREEN,
    TITLE,
    Layout,
)

HINTS = "F2 video   F3 tone   F4 microphone   F5 pointer   Ctrl+C copy line   Ctrl+V paste"


@functools.lru_cache(2)
def furniture(width: int, height: int) -> Pixels:
    """All of it, for a display of that size. Not to be written to."""
    canvas, layout = Canvas(width, height), Layout.of(width, height)
    canvas.put(canvas.box, _background(width, height))
    _bar(canvas, layout)
    canvas.panel(layout.counter, DARK, 190)
    canvas.text(layout.counter.left + MARGIN, layout.counter.top + 16, 1, FAINT, "TICKS")
    if layout.has_status:
        canvas.panel(layout.status, DARK, 190)
    if layout.has_terminal:
        _window(canvas, layout.terminal, "terminal")
    _idle_video(canvas, layout)
    canvas.text(MARGIN, layout.middle(layout.hints), layout.scale, INK, HINTS)
    canvas.pixels.flags.writeable = False
    return canvas.pixels


def _bar(canvas: Canvas, layout: Layout) -> None:
    bar, scale = layout.bar, layout.scale
    y = layout.middle(bar)
    canvas.fill(bar, DARK)
    canvas.fill(Box(0, BAR - 2, bar.right, BAR), AMBER)
    canvas.text(MARGIN, y, scale, INK, "Caraway")
    canvas.text(MARGIN + 8 * COLUMNS * scale, y, scale, FAINT, "embedded guest")


def _window(canvas: Canvas, box: Box, title: str) -> None:
    canvas.panel(Box(box.left + 4, box.top + 6, box.right + 4, box.bottom + 6), 0, 70)
    canvas.panel(box, 0x24343D, 256)
    canvas.fill(Box(box.left, box.top + TITLE, box.right, box.bottom - 10), SCREEN)
    canvas.panel(Box(box.left, box.bottom - 30, box.right, box.bottom), SCREEN, 256)
    for number, color in enumerate((RED, AMBER, GREEN)):
        x = box.left + 16 + 22 * number
        canvas.panel(Box(x - 6, box.top + 11, x + 7, box.top + 24), color, 256)
    canvas.text(box.left + 88, box.top + 14, 1, FAINT, title)


def _idle_video(canvas: Canvas, layout: Layout) -> None:
    """An empty place for the video, where there is room beside the terminal."""
    box = layout.video
    if box.left < layout.terminal.right:
        return
    canvas.panel(box, DARK, 150)
    x, y = (box.left + box.right) // 2, (box.top + box.bottom) // 2
    for row in range(-22, 23):
        canvas.fill(Box(x - 14, y + row, x + 26 - 40 * abs(row) // 22, y + row + 1), FAINT)
    canvas.text(x - 12 * COLUMNS // 2, y + 50, 1, FAINT, "F2 plays it")


def _background(width: int, height: int) -> Pixels:
    """A slope of colour with caraway seeds strewn over it, one in each cell of 72 pixels."""
    pixels = np.zeros((height, width, 4), np.uint8)
    slope = (np.arange(height)[:, np.newaxis] * 3 + np.arange(width)) / (3 * height + width)
    for channel, (low, span) in enumerate(((84, 46), (58, 62), (22, 44))):
        pixels[..., channel] = low + span * slope
    scatter = np.random.default_rng(1975)
    for cell in _cells(width, height):
        x, y = scatter.uniform(20, 52, 2)
        angle = scatter.uniform(0, np.pi)
        part = pixels[cell.top : cell.bottom, cell.left : cell.right, :3]
        dx, dy = np.arange(part.shape[1]) - x, np.arange(part.shape[0])[:, np.newaxis] - y
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = dy * np.cos(angle) - dx * np.sin(angle) + along * along / 64
        inside = np.clip((1 - np.hypot(along / 16, across / 5)) * 4, 0, 1) * np.where(abs(across) < 0.7, 5, 15)
        part += inside.astype(np.uint8)[..., np.newaxis]
    return pixels


def _cells(width: int, height: int) -> Iterator[Box]:
    return (
        Box(x, y, min(x + 72, width), min(y + 72, height)) for y in range(0, height, 72) for x in range(0, width, 72)
    )
