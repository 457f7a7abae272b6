import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.canvas.region import Box
from caraway.server.graduality import Graduality, graduality, score


def reference(pixels: np.ndarray, box: Box) -> float:
    """The score as spec/streams.md 2.4 tells it, but a place in the last column does not shift those after it."""
    width, height = box.width, box.height
    rows = pixels[box.top : box.bottom, box.left : box.right, :3].astype(int).reshape(-1, 3)
    jump = 15 if 15 % width else 14
    total, samples = 0.0, 0
    for at in range(width // 2, (height - 1) * width, jump):
        if (at + 1) % width == 0:
            at -= 1
        differences = [np.abs(rows[at] - rows[at + offset]).max() for offset in (1, width, width + 1)]
        if any(differences):
            total += sum(0.5 if d == 0 else 1.0 if d >= 60 else -0.25 for d in differences)
        samples += 3
    return total / samples


def view(pixels: np.ndarray) -> memoryview:
    return memoryview(pixels.reshape(-1))


@given(st.integers(2, 60), st.integers(2, 40), st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**32))
def test_the_score_is_that_of_the_specification(width: int, height: int, left: int, top: int, seed: int) -> None:
    choice = np.random.default_rng(seed)
    pixels = choice.choice(np.array([0, 1, 40, 90, 255], np.uint8), (top + height, left + width + 3, 4))
    box = Box(left, top, left + width, top + height)
    assert score(view(pixels), pixels.shape[1] * 4, box) == pytest.approx(reference(pixels, box))


def test_a_part_of_the_samples_tells_the_same_of_a_large_picture() -> None:
    choice = np.random.default_rng(3)
    pixels = choice.choice(np.array([0, 30, 90], np.uint8), (700, 900, 4))
    box = Box(0, 0, 900, 700)
    every = score(view(pixels), 3600, box, samples=1 << 20)
    assert score(view(pixels), 3600, box) == pytest.approx(every, abs=0.02)


def test_photos_text_and_plain_colours() -> None:
    rows, columns = np.mgrid[:200, :300]
    photo = np.stack([rows, columns // 2, rows // 3 + columns // 3, rows], axis=-1).astype(np.uint8)
    assert graduality(view(photo), 1200, Box(0, 0, 300, 200)) is Graduality.HIGH
    text = np.random.default_rng(1).choice(np.array([0, 255], np.uint8), (200, 300, 1)).repeat(4, axis=2)
    assert graduality(view(text), 1200, Box(0, 0, 300, 200)) is Graduality.LOW
    assert graduality(view(np.zeros((200, 300, 4), np.uint8)), 1200, Box(0, 0, 300, 200)) is Graduality.MEDIUM


@pytest.mark.parametrize("box", [Box(0, 0, 1, 50), Box(0, 0, 50, 1)])
def test_without_neighbours_there_is_nothing_to_tell(box: Box) -> None:
    assert score(bytes(50 * 50 * 4), 200, box) is None
    assert graduality(bytes(50 * 50 * 4), 200, box) is Graduality.LOW


def test_the_unused_byte_does_not_count() -> None:
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[..., 3] = np.random.default_rng(1).integers(0, 255, (40, 40))
    assert score(view(pixels), 160, Box(0, 0, 40, 40)) == 0
