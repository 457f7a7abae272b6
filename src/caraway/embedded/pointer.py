"""The shape of the guest's pointer: an arrow with a soft shadow."""

from __future__ import annotations

import numpy as np

from caraway.canvas.cursor import CursorShape

ARROW = (
    "#",
    "##",
    "#.#",
    "#..#",
    "#...#",
    "#....#",
    "#.....#",
    "#......#",
    "#.......#",
    "#........#",
    "#.........#",
    "#..........#",
    "#......#####",
    "#...#..#",
    "#..##..#",
    "#.# #..#",
    "##   #..#",
    "#    #..#",
    "      ##",
)
SHADOW = 3
"""Pixels that the shadow lies below and right, and its softness."""


def arrow() -> CursorShape:
    """The arrow; it points with its upper left corner."""
    width, height = max(map(len, ARROW)) + 2 * SHADOW, len(ARROW) + 2 * SHADOW
    dots = np.array([[*row.ljust(width)] for row in [*ARROW, *[""] * (2 * SHADOW)]])
    shade = np.zeros((height, width))
    shade[2:, 1:] = (dots != " ")[:-2, :-1]
    for axis in (0, 1):
        shade = (np.roll(shade, 1, axis) + shade + np.roll(shade, -1, axis)) / 3
    bgra = np.zeros((height, width, 4), np.uint8)
    bgra[..., 3] = shade * 110
    bgra[dots == "#"] = (0x22, 0x1A, 0x14, 255)
    bgra[dots == "."] = 255
    return CursorShape(width, height, 0, 0, bgra.tobytes())
