"""Graduality: whether pixels change gradually, as in photos, or in steps, as in text (spec/streams.md 2.4)."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from caraway.canvas.region import Box
from caraway.wire.fields import Buffer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SAMPLES = 4096
"""Places looked at, however large the box: the average is then within 0.01 or so of that of all of them."""

_JUMP = 15
_STEP = 60
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
    import numpy as np

    width, height = box.width, box.height
    if width <= 1 or height <= 1:
        return None
    area = (height - 1) * width
    jump = max(_JUMP, area // samples)
    if jump % width == 0:
        jump -= 1
    # Linear indices of a picture without padding; in the last column, the pixel before has neighbours on both sides.
    rows, columns = np.divmod(np.arange(width // 2, area, jump), width)
    columns = np.minimum(columns, width - 2)
    start = box.top * stride + box.left * 4
    size = (height - 1) * stride + width * 4
    at = rows * stride + columns * 4
    view = np.frombuffer(pixels, np.uint8, size, start)
    here = _gather(view, at)
    pairs = [_differences(here, _gather(view, at + offset)) for offset in (4, stride, stride + 4)]
    same = [~different for different, _ in pairs]
    scores = sum(np.where(equal, 0.5, np.where(step, 1.0, -0.25)) for equal, (_, step) in zip(same, pairs, strict=True))
    scores = np.where(same[0] & same[1] & same[2], 0.0, scores)
    return float(scores.mean()) / len(pairs)


def _gather(view: NDArray[np.uint8], at: NDArray[Any]) -> NDArray[np.uint8]:
    """Blue, green and red of the pixels that begin there."""
    import numpy as np

    return np.stack([view[at], view[at + 1], view[at + 2]])


def _differences(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where two rows of pixels differ at all, and where by a step."""
    import numpy as np

    largest = (np.maximum(one, other) - np.minimum(one, other)).max(axis=0)
    return largest > 0, largest >= _STEP
