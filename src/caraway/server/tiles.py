"""Encoded pieces of one display, shared by its viewers: what one has made need not be made again for another."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from caraway.canvas.region import Box, intersect
from caraway.server.encoder import Settings

MAX_BYTES = 16 << 20
"""Of all pieces: more than a 1920x1080 picture without any compression."""

_OVERHEAD = 512
"""Bytes that an entry costs besides its message."""


class Tile(NamedTuple):
    """A piece of a picture, ready to be sent."""

    type: int
    body: bytes
    lossy: bool


class Tiles:
    """Pieces by place and encoding, as long as their pixels are the display's; the least used ones go first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self._tiles: OrderedDict[tuple[Box, Settings], Tile] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tiles)

    def get(self, box: Box, settings: Settings) -> Tile | None:
        """A piece that was encoded before, of pixels that have not changed since."""
        tile = self._tiles.get((box, settings))
        if tile is not None:
            self._tiles.move_to_end((box, settings))
        return tile

    def put(self, box: Box, settings: Settings, tile: Tile) -> None:
        """Keep a piece."""
        self._forget((box, settings))
        self._tiles[box, settings] = tile
        self.held_bytes += len(tile.body) + _OVERHEAD
        while self.held_bytes > self.max_bytes:
            self._forget(next(iter(self._tiles)))

    def changed(self, box: Box) -> None:
        """Pixels have changed: pieces with some of them are worth nothing."""
        for key in [key for key in self._tiles if intersect(key[0], box) is not None]:
            self._forget(key)

    def clear(self) -> None:
        """Forget all."""
        self._tiles.clear()
        self.held_bytes = 0

    def _forget(self, key: tuple[Box, Settings]) -> None:
        tile = self._tiles.pop(key, None)
        if tile is not None:
            self.held_bytes -= len(tile.body) + _OVERHEAD
