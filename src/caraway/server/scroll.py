"""Finds content that was only moved: a scrolled page, a panned map.

Looks at samples and may be wrong: whoever takes the advice compares afterwards, so a wrong one costs bytes, not truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from caraway.canvas.kernels.look import line_sums
from caraway.canvas.region import Box
from caraway.server.damage import Copy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_PIXELS = 1 << 14
"""Of a change in which to look for moved content, and of the content to be worth it."""

_STRIP = 64
"""Pixels across the direction of moving that are looked at as one: what is beside a scrolled page does not disturb."""
_STEP = 4
"""Every so many pixels of a line are sampled."""
_FACTOR = 0x9E3779B1
_ASKED = 8
"""Strips that are asked how far they have moved."""
_MIN_LINES = 8
"""Lines of strips that must have moved equally far."""


def find(before: NDArray[np.uint32], after: NDArray[np.uint32], box: Box) -> Copy | None:
    """The largest part of `box` that shows what was elsewhere in it, in the same columns or the same rows.

    before, after: all pixels of a display.
    """
    old = before[box.top : box.bottom, box.left : box.right]
    new = after[box.top : box.bottom, box.left : box.right]
    found = _along_rows(old, new)
    if found is not None:
        first, last, top, bottom, distance = found
        return Copy(Box(first, top, last, bottom).moved(box.left, box.top), 0, distance)
    found = _along_rows(old.T, new.T)
    if found is not None:
        first, last, left, right, distance = found
        return Copy(Box(left, first, right, last).moved(box.left, box.top), distance, 0)
    return None


def _along_rows(old: NDArray[np.uint32], new: NDArray[np.uint32]) -> tuple[int, int, int, int, int] | None:
    """Content that was moved up or down: first and last column, top, bottom, and how far."""
    import numpy as np

    height, width = new.shape
    strips = width // _STRIP
    if height < 2 * _MIN_LINES or not strips:
        return None
    every = -(-strips // _ASKED)
    distance = _commonest_distance(_hashes(old, every), _hashes(new, every))
    if distance is None:
        return None
    was, now = _hashes(old), _hashes(new)
    changed, same = was != now, np.zeros(now.shape, bool)
    if distance > 0:
        same[distance:] = now[distance:] == was[:-distance]
    else:
        same[:distance] = now[:distance] == was[-distance:]
    # A line that has changed and was elsewhere is a gain; one that has not changed and was not there is a loss.
    gain = (changed & same).astype(np.int32) - (~changed & ~same)
    first, last, _ = _best_run(gain.sum(axis=0))
    top, bottom, lines = _best_run(gain[:, first:last].sum(axis=1))
    if lines * _STRIP < MIN_PIXELS:
        return None
    top, bottom = max(top, distance), min(bottom, height + min(distance, 0))
    return first * _STRIP, last * _STRIP, top, bottom, distance


def _hashes(pixels: NDArray[np.uint32], every: int = 1) -> NDArray[np.uint32]:
    """A number for each line of every so many strips. Columns that do not fill a strip are left out."""
    import numpy as np

    sums = line_sums(pixels, _STRIP, every, _STEP, _FACTOR)
    return np.frombuffer(sums, np.uint32).reshape(len(pixels), -1)


def _commonest_distance(was: NDArray[np.uint32], now: NDArray[np.uint32]) -> int | None:
    """How far most lines have moved that can be told from others."""
    import numpy as np

    changed = was != now
    distances = []
    for strip in range(now.shape[1]):
        lines = np.flatnonzero(changed[:, strip])
        if len(lines) < _MIN_LINES:
            continue
        values, places, counts = np.unique(was[:, strip], return_index=True, return_counts=True)
        values, places = values[counts == 1], places[counts == 1]
        if not len(values):
            continue
        wanted = now[lines, strip]
        at = np.searchsorted(values, wanted).clip(max=len(values) - 1)
        found = values[at] == wanted
        distances.append(lines[found] - places[at[found]])
    if not distances:
        return None
    candidates, votes = np.unique(np.concatenate(distances), return_counts=True)
    if not len(candidates) or votes.max() < _MIN_LINES:
        return None
    return int(candidates[votes.argmax()]) or None


def _best_run(gains: NDArray[np.int64]) -> tuple[int, int, int]:
    """Where the sum over a run is largest: its first, the one after its last, the sum."""
    best = start = end = total = begin = 0
    for at, gain in enumerate(gains.tolist()):
        if total <= 0:
            total, begin = 0, at
        total += gain
        if total > best:
            best, start, end = total, begin, at + 1
    return start, end, best
