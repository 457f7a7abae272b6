"""A display on which things move: videos, scrolling terminals, blinking cursors; and the damage that they make."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from caraway.canvas.region import Box
from caraway.server import DisplayOptions, FramebufferGuest, Server
from caraway.server.guest import Display

VIDEO = Box(101, 53, 101 + 256, 53 + 192)
TERMINAL = Box(400, 40, 620, 300)
"""Where a cinema shows what."""

FRAMES = 8
"""Frames of a video, after which it begins again."""


@functools.cache
def _frame_of(width: int, height: int, number: int) -> Any:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    phase = 2 * np.pi * number / FRAMES
    waves = [127 + 110 * np.sin(x / (90 + 20 * part) + y / (70 + 15 * part) + phase + part) for part in range(3)]
    noise = np.random.default_rng(number).normal(0, 2, (height, width, 3))
    return (np.stack(waves, axis=-1) + noise).clip(0, 255).astype(np.uint8)


class Scene:
    """Pixels of a display, and things that draw on them.

    pixels: (height, width, 4), blue, green, red, unused.
    """

    def __init__(self, width: int = 1024, height: int = 768, seed: int = 1) -> None:
        self.pixels = np.full((height, width, 4), 200, np.uint8)
        self.display = Display(width, height, self.pixels)
        self._random = np.random.default_rng(seed)
        self._frame = 0

    def play(self, box: Box) -> None:
        """Draw the next frame of a video: colours that flow, with a little noise."""
        self._frame += 1
        self._at(box)[..., :3] = _frame_of(box.width, box.height, self._frame % FRAMES)

    def frames(self, box: Box) -> list[Any]:
        """All frames of such a video: blue, green, red."""
        return [_frame_of(box.width, box.height, number) for number in range(FRAMES)]

    def type(self, box: Box) -> None:
        """Draw a screenful of something like text, other than before."""
        letters = self._random.random((box.height // 2 + 1, box.width // 2 + 1)) < 0.3
        letters = letters.repeat(2, axis=0).repeat(2, axis=1)[: box.height, : box.width]
        self._at(box)[..., :3] = np.where(letters, 0, 255)[..., None]

    def blink(self, box: Box) -> None:
        """Draw a cursor in its other colour."""
        self._at(box)[..., :3] ^= 255

    def _at(self, box: Box) -> Any:
        return self.pixels[box.top : box.bottom, box.left : box.right]


class Cinema:
    """A guest on which a video plays beside a terminal."""

    def __init__(self) -> None:
        self.scene = Scene(640, 360)
        self.scene.type(self.scene.display.box)
        self.guest = FramebufferGuest(640, 360, self.scene.pixels)

    async def play(self) -> None:
        while True:
            self.scene.play(VIDEO)
            self.guest.damage(VIDEO.left, VIDEO.top, VIDEO.width, VIDEO.height)
            self.scene.type(TERMINAL)
            self.guest.damage(TERMINAL.left, TERMINAL.top, TERMINAL.width, TERMINAL.height)
            await asyncio.sleep(0.03)

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        """The video plays within."""
        task = asyncio.create_task(self.play())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    @property
    def rgb(self) -> Any:
        """What the guest shows: red, green, blue."""
        return self.scene.pixels[..., 2::-1]

    def psnr(self, shown: Any) -> float:
        """Of the video, between a picture as `rgb` and the frame that is nearest to it."""
        there = shown[VIDEO.top : VIDEO.bottom, VIDEO.left : VIDEO.right].astype(int)
        errors = [np.mean((there - frame[..., ::-1]) ** 2) for frame in self.scene.frames(VIDEO)]
        return float(10 * np.log10(255**2 / max(min(errors), 1e-9)))


@asynccontextmanager
async def screening(cinema: Cinema, streaming: str = "filter") -> AsyncIterator[Server]:
    """A server of it."""
    options = DisplayOptions(streaming=streaming)
    async with Server(cinema.guest, host="127.0.0.1", port=0, sharing="share", display=options) as server:
        yield server


def strips(box: Box, height: int) -> list[Box]:
    """A box cut into rows of boxes."""
    return [Box(box.left, top, box.right, min(top + height, box.bottom)) for top in range(box.top, box.bottom, height)]


def tiles(box: Box, side: int) -> list[Box]:
    """A box cut along a grid of the display."""
    cut = []
    for top in range(box.top // side * side, box.bottom, side):
        for left in range(box.left // side * side, box.right, side):
            cut.append(
                Box(max(left, box.left), max(top, box.top), min(left + side, box.right), min(top + side, box.bottom))
            )
    return cut


def jittered(box: Box, margin: int, choice: random.Random) -> Box:
    """A box whose sides are up to `margin` pixels further inside."""
    left, top, right, bottom = (choice.randint(0, margin) for _ in range(4))
    return Box(box.left + left, box.top + top, box.right - right, box.bottom - bottom)
