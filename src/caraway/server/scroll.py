"""Finds content that was only moved: a scrolled page, a panned map.

Looks at samples and may be wrong: whoever takes the advice compares afterwards, so a wrong one costs bytes, not truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    if height < 2 * _MIN_LINES or width < _STRIP:
        return None
    was, now = _hashes(old), _hashes(new)
    changed = was != now
    distance = _commonest_distance(was, now, changed)
    if distance is None:
        return None
    same = np.zeros(now.shape, bool)
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
    reach = slice(top, bottom)
    if not same[reach].any():
        return None
    top, bottom = max(top, distance, 0), min(bottom, height + min(distance, 0))
    return first * _STRIP, min(last * _STRIP, width), top, bottom, distance


def _hashes(pixels: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """A number for each line of each strip. The rest of a last strip that is not whole is left out."""
    import numpy as np

    height, width = pixels.shape
    strips = width // _STRIP
    samples = np.ascontiguousarray(pixels[:, : strips * _STRIP : _STEP]).reshape(height, strips, _STRIP // _STEP)
    factors = np.array([pow(0x9E3779B97F4A7C15, power + 1, 1 << 64) for power in range(_STRIP // _STEP)], np.uint64)
    hashes: NDArray[np.uint64] = np.einsum("ijk,k->ij", samples.astype(np.uint64), factors)
    return hashes


def _commonest_distance(was: NDArray[np.uint64], now: NDArray[np.uint64], changed: NDArray[np.bool_]) -> int | None:
    """How far most lines have moved that can be told from others."""
    import numpy as np

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
