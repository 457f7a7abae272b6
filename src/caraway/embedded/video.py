"""The guest's video: colours that flow, noise, and a ball that bounces; frame n is always the same."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from caraway.embedded.drawing import Pixels

BALL = 26
"""Radius, pixels."""


def bounce(way: int, room: int) -> int:
    """Where something is that has gone `way` pixels between two walls `room` apart."""
    return room - abs(way % (2 * room) - room) if room > 0 else 0


@functools.lru_cache(1)
def _tables(width: int, height: int) -> tuple[Pixels, npt.NDArray[np.int64], Pixels]:
    wave = (127.5 + 127.5 * np.sin(np.arange(256) * np.pi / 128)).astype(np.uint8)
    across, down = np.arange(width), np.arange(height)[:, np.newaxis]
    rings = (np.hypot(across - width / 3, down - height / 2) * 1.5).astype(np.int64)
    noise = np.random.default_rng(440).integers(0, 24, (height * 2, width * 2), np.uint8)
    return wave, rings, noise


@functools.lru_cache(1)
def _ball() -> tuple[npt.NDArray[np.bool_], Pixels]:
    side = np.arange(-BALL, BALL)
    shine = np.hypot(side + BALL // 3, side[:, np.newaxis] + BALL // 3)
    shades = np.clip(255 - 3 * shine, 150, 255)[..., np.newaxis] * [0.35, 0.72, 1.0]
    return np.hypot(side, side[:, np.newaxis]) < BALL, shades.astype(np.uint8)


def frame(number: int, width: int, height: int) -> Pixels:
    """A frame of that size."""
    wave, rings, noise = _tables(width, height)
    across, down = np.arange(width), np.arange(height)[:, np.newaxis]
    # The deepest tone is that of the noise alone, so that nothing overflows.
    grain = noise[number * 37 % height :, number * 53 % width :][:height, :width]
    pixels = np.empty((height, width, 4), np.uint8)
    pixels[..., 0] = (wave[rings + 3 * number & 255] >> 1) + 90
    pixels[..., 1] = wave[(across + 2 * down + 5 * number) // 2 & 255] >> 1
    pixels[..., 2] = (wave[(2 * across - down - 4 * number) // 3 & 255] >> 1) + 30
    pixels[..., :3] += grain[..., np.newaxis]
    pixels[..., 3] = 0
    x = BALL + bounce(5 * number, width - 2 * BALL)
    y = BALL + bounce(4 * number, height - 2 * BALL)
    part = pixels[y - BALL : y + BALL, x - BALL : x + BALL, :3]
    inside, shades = _ball()
    part[inside] = shades[inside]
    return pixels
