"""The guest's video memory, as pages that know whether they were written: what a live migration copies."""

from __future__ import annotations

from collections.abc import Iterable

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

    def used(self) -> Iterable[int]:
        """The pages that are not all zero."""
        empty = bytes(PAGE)
        return (number for number in range(self.pages) if self.page(number) != empty)

    def page(self, number: int) -> memoryview:
        """The bytes of a page."""
        return self.view[number * PAGE : (number + 1) * PAGE]

    def clear(self) -> None:
        """All zero, and all written."""
        self.view[:] = bytes(len(self.view))
        self._dirty[:] = b"\1" * self.pages
