"""The surfaces of one display channel, by id (spec/messages.md 2.5)."""

from __future__ import annotations

from caraway.canvas.surface import Surface
from caraway.errors import ProtocolError

PRIMARY = 0
"""Id of a display's primary surface."""

MAX_SURFACES = 10_000
"""Surfaces of a display: the deployed server's ids stay below (spec/messages.md 2.5)."""

MAX_SURFACE_PIXELS = 1 << 27
"""Pixels of all surfaces of a display: 512 MiB, twice the video memory of a large guest."""


class Surfaces:
    """Surfaces by id, within a limit on their pixels."""

    def __init__(self) -> None:
        self._surfaces: dict[int, Surface] = {}
        self._pixels = 0

    def get(self, id: int) -> Surface | None:
        """The surface of that id, if there is one."""
        return self._surfaces.get(id)

    def create(self, id: int, width: int, height: int, format: int) -> Surface:
        """Make a surface; one of the same id is gone. Raises ProtocolError beyond the limits."""
        self.destroy(id)
        pixels = self._pixels + width * height
        if pixels > MAX_SURFACE_PIXELS or len(self._surfaces) >= MAX_SURFACES:
            raise ProtocolError(
                f"{len(self._surfaces) + 1} surfaces of {pixels} pixels, limits {MAX_SURFACES} and {MAX_SURFACE_PIXELS}"
            )
        surface = self._surfaces[id] = Surface(width, height, format)
        self._pixels = pixels
        return surface

    def destroy(self, id: int) -> None:
        """Forget a surface; an unknown one is nothing."""
        surface = self._surfaces.pop(id, None)
        if surface is not None:
            self._pixels -= surface.width * surface.height

    def clear(self) -> None:
        """Forget all."""
        self._surfaces.clear()
        self._pixels = 0
