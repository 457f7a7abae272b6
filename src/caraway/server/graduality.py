"""Graduality: whether pixels change gradually, as in photos, or in steps, as in text (spec/streams.md 2.4)."""

from __future__ import annotations

import enum

from caraway.canvas.kernels.look import steps
from caraway.canvas.region import Box
from caraway.wire.fields import Buffer

MAX_SAMPLES = 4096
"""Places looked at, however large the box: the average is then within 0.01 or so of that of all of them."""

_JUMP = 15
_HIGH = -0.03
_MEDIUM = 0.002


class Graduality(enum.IntEnum):
    """How a picture's neighbouring pixels differ."""

    LOW = 0
    """In steps: text and drawings."""
    MEDIUM = 1
    HIGH = 2
    """Gradually: photos and videos."""


def graduality(pixels: Buffer, stride: int, box: Box, *, samples: int = MAX_SAMPLES) -> Graduality:
    """How the pixels of a box differ from their neighbours to the right, below, and below right.

    pixels: 4 bytes each, blue, green, red and one unused, rows `stride` bytes apart. The box lies within them; one of a
    single row or column has no neighbours and counts as LOW.
    """
    average = score(pixels, stride, box, samples=samples)
    if average is None:
        return Graduality.LOW
    if average < _HIGH:
        return Graduality.HIGH
    return Graduality.MEDIUM if average < _MEDIUM else Graduality.LOW


def score(pixels: Buffer, stride: int, box: Box, *, samples: int = MAX_SAMPLES) -> float | None:
    """The average score of pairs of neighbours, -0.25 (gradual) to 1 (steps); None without pairs."""
    width, height = box.width, box.height
    if width <= 1 or height <= 1:
        return None
    jump = max(_JUMP, (height - 1) * width // samples)
    if jump % width == 0:
        jump -= 1
    quarters, looks = steps(pixels, stride, box.top * stride + box.left * 4, width, height, jump)
    return quarters / (4 * 3 * looks)
