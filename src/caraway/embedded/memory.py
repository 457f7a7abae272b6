"""The guest's video memory, as pages that know whether they were written: what a live migration copies."""

from __future__ import annotations

import numpy as np

from caraway.canvas.region import Box

PAGE = 4096
"""Bytes."""


class Memory:
    """Bytes in pages.

    view: all of them. What writes there says `wrote` afterwards.
    """

    def __init__(self, size: int) -> None:
        self.pages = size // PAGE
        self.view = memoryview(bytearray(self.pages * PAGE))
        self._dirty = bytearray(b"\1") * self.pages

    def wrote(self, box: Box, stride: int) -> None:
        """Pixels of 4 bytes have changed, in rows of `stride` bytes from the start of the memory on."""
        for row in range(box.top * stride, box.bottom * stride, stride):
            first, last = (row + 4 * box.left) // PAGE, (row + 4 * box.right - 1) // PAGE
            self._dirty[first : last + 1] = b"\1" * (last + 1 - first)

    def take_dirty(self) -> list[int]:
        """The pages that have been written since the last call; all of them at first."""
        numbers = [number for number, dirty in enumerate(self._dirty) if dirty]
        self._dirty[:] = bytes(self.pages)
        return numbers

    def used(self) -> list[int]:
        """The pages that are not all zero."""
        words = np.frombuffer(self.view, np.uint64).reshape(self.pages, -1)
        found: list[int] = np.flatnonzero(words.any(axis=1)).tolist()
        return found

    def page(self, number: int) -> memoryview:
        """The bytes of a page."""
        return self.view[number * PAGE : (number + 1) * PAGE]

    def load(self, content: memoryview) -> None:
        """Have this content; all written."""
        self.view[:] = content
        self._dirty[:] = b"\1" * self.pages

    def clear(self) -> None:
        """All zero, and all written."""
        np.frombuffer(self.view, np.uint8)[:] = 0
        self._dirty[:] = b"\1" * self.pages
