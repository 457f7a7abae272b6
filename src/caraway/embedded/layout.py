"""Where things are on the guest's desktop, and their colours."""

from __future__ import annotations

from typing import NamedTuple

from caraway.canvas.region import Box
from caraway.embedded.font import COLUMNS

INK, FAINT, AMBER, GREEN, DARK, UNLIT, RED = 0xF2EFE6, 0x9FB3B8, 0xFFB84D, 0x7EE081, 0x0C1A22, 0x2A3A40, 0xFF6F61
SCREEN = 0x0E1B22
"""Of the terminal."""
MARGIN, BAR, TITLE, DIGITS = 24, 48, 34, 7


class Layout(NamedTuple):
    """Where things are on a display of some size."""

    scale: int
    dot: int
    bar: Box
    counter: Box
    status: Box
    terminal: Box
    video: Box
    hints: Box

    @classmethod
    def of(cls, width: int, height: int) -> Layout:
        """Of that many pixels, at least 320x200."""
        scale = 2 if width >= 1000 and height >= 600 else 1
        dot = 10 if scale == 2 else 6 if width >= 640 else 3
        margin = MARGIN if scale == 2 else 10
        top = BAR + margin
        counter = Box(margin, top, margin + (DIGITS * COLUMNS - 1) * dot + 2 * MARGIN, top + 7 * dot + MARGIN + 40)
        hints = Box(0, height - 10 - 9 * scale - margin // 2, width, height)
        below = counter.bottom + margin
        bottom = hints.top - margin // 2
        film = (384, 288) if scale == 2 and height >= 700 else (240, 180)
        beside = width >= 3 * film[0]
        right = width - margin - (film[0] + margin if beside else 0)
        x, y = width - margin - film[0], max(below if beside else bottom - film[1] - margin, 0)
        return cls(
            scale,
            dot,
            Box(0, 0, width, BAR),
            counter,
            Box(counter.right + margin, counter.top, width - margin, counter.bottom),
            Box(margin, below, right, max(bottom, below)),
            Box(x, y, x + film[0], y + film[1]),
            hints,
        )

    @property
    def has_status(self) -> bool:
        """Whether there is room for the status panel."""
        return self.status.width >= 120

    @property
    def has_terminal(self) -> bool:
        """Whether there is room for the terminal."""
        return self.terminal.height >= 70

    @property
    def text(self) -> Box:
        """Where the terminal's lines are."""
        return Box(
            self.terminal.left + 16, self.terminal.top + TITLE + 12, self.terminal.right - 12, self.terminal.bottom
        )

    @property
    def line(self) -> int:
        """Pixels from one line to the next."""
        return 12 * self.scale

    @property
    def digits(self) -> tuple[int, int]:
        """The counter's left and upper edge."""
        return self.counter.left + MARGIN, self.counter.top + MARGIN + 16

    def middle(self, box: Box) -> int:
        """Where a line of text begins that lies in the middle of a box."""
        return (box.top + box.bottom - 7 * self.scale) // 2
