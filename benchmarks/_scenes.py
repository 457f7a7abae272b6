"""What happens on the screen while `server.py` measures: scripts that draw one frame after another, always the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from _pictures import LEADING, Array, desktop, photo, random, text

Script = Callable[[Array], Iterator[None]]
"""Draws the next frame each time that it is asked."""

MARK_LEFT, MARK_TOP, MARK_SIDE = 304, 16, 16
"""Where pixels tell which frame it is."""


def mark(screen: Array, frame: int) -> None:
    """Make a frame known, also after some loss."""
    place = slice(MARK_TOP, MARK_TOP + MARK_SIDE), slice(MARK_LEFT, MARK_LEFT + MARK_SIDE)
    screen[place][..., :3] = 8 + frame % 16 * 16, 8 + frame // 16 % 16 * 16, 128


def scroll(screen: Array) -> Iterator[None]:
    """A terminal scrolls by a line a frame."""
    height, width = screen.shape[0] * 3 // 4, screen.shape[1] * 3 // 4
    page = text(width, height + 100 * LEADING)
    for frame in itertools.count():
        top = frame % 100 * LEADING
        screen[40 : 40 + height, 60 : 60 + width] = page[top : top + height]
        yield


def move(screen: Array) -> Iterator[None]:
    """A window is dragged over a desktop, and up and down on the way."""
    height, width = screen.shape[0] // 2, screen.shape[1] // 2
    behind = screen.copy()
    window = text(width, height)
    window[:24] = (150, 90, 30, 0)
    for frame in itertools.count():
        left = 30 + frame * 7 % (screen.shape[1] - width - 60)
        top = 30 + abs(frame * 4 % 300 - 150)
        screen[:] = behind
        screen[top : top + height, left : left + width] = window
        yield


def photos(screen: Array) -> Iterator[None]:
    """Another photo at each fifth frame."""
    height, width = screen.shape[0] * 2 // 3, screen.shape[1] * 2 // 3
    source, large = random(5), photo(width + 256, height + 256)
    while True:
        left, top = source.randint(0, 256, 2)
        piece = large[top : top + height, left : left + width]
        screen[80 : 80 + height, 120 : 120 + width] = piece[:: source.choice((1, -1)), :: source.choice((1, -1))]
        yield from itertools.repeat(None, 5)


def video(screen: Array) -> Iterator[None]:
    """A video: the camera moves over a photo, and its grain is another one in each frame."""
    width, height = 480, 360
    large = photo(width + 300, height + 200).astype(np.int16)
    grain = [np.rint(random(seed).normal(0, 1.5, (height, width, 3))).astype(np.int16) for seed in range(6, 14)]
    for frame in itertools.count():
        left, top = abs(frame * 3 % 500 - 250), abs(frame % 300 - 150)
        piece = large[top : top + height, left : left + width, :3] + grain[frame % len(grain)]
        screen[150 : 150 + height, 200 : 200 + width, :3] = np.clip(piece, 0, 255)
        yield


def parts(screen: Array, picture: Callable[[int, int], Array]) -> Iterator[None]:
    """Four parts of the screen, a tenth of it: every pixel there changes with each frame, all by as much."""
    height, width = screen.shape[0] // 10, screen.shape[1] // 4
    pictures = [picture(width, height * number)[-height:] for number in range(1, 5)]
    for frame in itertools.count():
        for number, drawn in enumerate(pictures):
            left, top = number * width, number * 2 * height + height // 2
            screen[top : top + height, left : left + width, :3] = drawn[..., :3] + np.uint8(frame * 37 % 256)
        yield


def text_parts(screen: Array) -> Iterator[None]:
    """A tenth of the screen changes, text."""
    return parts(screen, text)


def photo_parts(screen: Array) -> Iterator[None]:
    """A tenth of the screen changes, photos."""
    return parts(screen, photo)


def first_picture(width: int, height: int) -> Array:
    """What the screen shows before a script begins."""
    return desktop(width, height)
