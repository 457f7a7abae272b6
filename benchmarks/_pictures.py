"""Pictures to measure codecs with: BGRX bytes, made by rule, the same ones at every run.

Their kinds are those of `spec/kernels.md`: a desktop with text, the same with a photograph on it, a photograph, a
gradient, noise, and a single colour.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]

CELL_WIDTH, CELL_HEIGHT, LEADING = 8, 13, 18
WHITE, GREY, BLUE, DARK = (255, 255, 255), (222, 225, 230), (150, 90, 30), (48, 42, 36)


def random(seed: int) -> np.random.RandomState:
    """A generator whose stream is frozen."""
    return np.random.RandomState(seed)


def noise(width: int, height: int) -> Array:
    return random(1).randint(0, 256, (height, width, 4)).astype(np.uint8)


def flat(width: int, height: int) -> Array:
    return np.full((height, width, 4), 200, np.uint8)


def gradient(width: int, height: int) -> Array:
    """A component that changes along x, one along y, one along both."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x + y) // 2 % 256, y * 255 // height, x * 255 // width, np.zeros_like(x)]
    return np.stack(planes, axis=2).astype(np.uint8)


def photo(width: int, height: int) -> Array:
    """Shapes of every size, smooth and with edges, in colours near each other, and the grain of a sensor."""
    source = random(2)
    light = sum(
        (_octave(source, width, height, 8 << level) * 2**level for level in range(6)), np.zeros((height, width))
    )
    light = light / np.abs(light).max() * 110
    edges = np.where(_octave(source, width, height, 200) > 0, 25, -25)
    planes = []
    for _ in range(3):
        tint = _octave(source, width, height, 150) * 20
        planes.append(light + edges + tint + source.normal(0, 2, (height, width)) + 128)
    planes.append(np.zeros((height, width)))
    return np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)


def _octave(source: np.random.RandomState, width: int, height: int, step: int) -> NDArray[np.float64]:
    """Random values `step` pixels apart, joined by straight lines."""
    grid = source.uniform(-1, 1, (height // step + 2, width // step + 2))
    x, y = np.arange(width) / step, np.arange(height) / step
    rows, columns = y.astype(int), x.astype(int)
    fx, fy = x - columns, (y - rows)[:, None]
    upper = grid[rows][:, columns] * (1 - fx) + grid[rows][:, columns + 1] * fx
    lower = grid[rows + 1][:, columns] * (1 - fx) + grid[rows + 1][:, columns + 1] * fx
    return upper * (1 - fy) + lower * fy


def desktop(width: int, height: int) -> Array:
    """Windows of smooth-edged text with title bars and buttons on a background of one colour."""
    source = random(3)
    picture = np.empty((height, width, 4), np.uint8)
    picture[..., :3], picture[..., 3] = BLUE, 0
    glyphs = _glyphs(source)
    for left, top, right, bottom in ((0.03, 0.05, 0.60, 0.55), (0.25, 0.20, 0.80, 0.90), (0.55, 0.45, 0.97, 0.97)):
        window = picture[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]
        window[..., :3] = WHITE
        window[:26, :, :3] = GREY
        window[:, [0, -1], :3] = window[[0, -1], :, :3] = DARK
        _write(source, window[7:20, 10:300], glyphs, GREY)
        _write(source, window[34:-8, 8:-8], glyphs, WHITE)
    picture[-32:, :, :3] = DARK
    return picture


def _glyphs(source: np.random.RandomState) -> NDArray[np.float64]:
    """Shapes of 60 letters: strokes with smooth edges, how dark each pixel is."""
    letters = np.zeros((60, CELL_HEIGHT, CELL_WIDTH))
    for letter in letters:
        for _ in range(source.randint(2, 4)):
            column, row = source.randint(1, CELL_WIDTH - 2), source.randint(2, CELL_HEIGHT - 3)
            if source.randint(2):
                letter[2:-3, column] = 1
                letter[2:-3, column + 1] = source.randint(1, 4) / 4
            else:
                letter[row, 1:-2] = 1
                letter[row + 1, 1:-2] = source.randint(1, 4) / 4
    return letters


def _write(source: np.random.RandomState, area: Array, glyphs: NDArray[np.float64], paper: tuple[int, ...]) -> None:
    """Fill an area with lines of words."""
    for top in range(0, area.shape[0] - CELL_HEIGHT + 1, LEADING):
        end = source.randint(area.shape[1] // 4, area.shape[1])
        for left in range(0, end - CELL_WIDTH + 1, CELL_WIDTH):
            if source.randint(6):
                ink = glyphs[source.randint(len(glyphs))][..., None]
                cell = np.array(paper) * (1 - ink) + np.array(DARK) * ink
                area[top : top + CELL_HEIGHT, left : left + CELL_WIDTH, :3] = cell.astype(np.uint8)


def text(width: int, height: int) -> Array:
    """A white page of lines of words."""
    source = random(4)
    picture = np.zeros((height, width, 4), np.uint8)
    picture[..., :3] = WHITE
    _write(source, picture[4:, 8:-8], _glyphs(source), WHITE)
    return picture


def mixed(width: int, height: int) -> Array:
    """The desktop with a photograph over its middle."""
    picture = desktop(width, height)
    across, down = width // 2, height // 2
    left, top = width * 2 // 5, height * 2 // 5
    picture[top : top + down, left : left + across] = photo(across, down)
    return picture


PICTURES: dict[str, Callable[[int, int], Array]] = {
    "desktop": desktop,
    "mixed": mixed,
    "photo": photo,
    "gradient": gradient,
    "noise": noise,
    "flat": flat,
}
