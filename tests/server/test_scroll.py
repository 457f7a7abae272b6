import numpy as np
import pytest

from caraway.canvas.region import Box
from caraway.server.damage import Copy
from caraway.server.scroll import find

WIDTH, HEIGHT = 640, 480
WHOLE = Box(0, 0, WIDTH, HEIGHT)


def page(height: int = HEIGHT, seed: int = 1) -> np.ndarray:
    """Text: most lines of pixels are blank, others differ."""
    random = np.random.default_rng(seed)
    words = np.full((height, WIDTH), 0xFFFFFF, "<u4")
    for top in range(3, height - 8, 14):
        words[top : top + 8] -= random.integers(0, 2, (8, WIDTH // 4), "<u4").repeat(4, axis=1) * 0xCCCCCC
    return words


def after(before: np.ndarray, copy: Copy) -> np.ndarray:
    moved, box, source = before.copy(), copy.box, copy.source
    moved[box.top : box.bottom, box.left : box.right] = before[source.top : source.bottom, source.left : source.right]
    return moved


@pytest.mark.parametrize("distance", [-200, -33, -1, 1, 14, 90])
def test_a_page_that_moves_up_or_down(distance: int) -> None:
    long = page(2 * HEIGHT)
    before, now = long[200 : 200 + HEIGHT], long[200 - distance : 200 - distance + HEIGHT]
    copy = find(before, now, WHOLE)
    assert copy is not None
    assert (copy.dx, copy.dy) == (0, distance)
    assert copy.box.width == WIDTH
    assert copy.box.height >= HEIGHT - abs(distance) - 14
    assert np.array_equal(after(before, copy)[copy.box.top : copy.box.bottom], now[copy.box.top : copy.box.bottom])


@pytest.mark.parametrize("distance", [-64, -5, 7, 100])
def test_a_page_that_moves_sideways(distance: int) -> None:
    before = page().T.copy()[:, :HEIGHT]
    now = np.roll(before, distance, axis=1)
    copy = find(before, now, Box(0, 0, HEIGHT, WIDTH))
    assert copy is not None
    assert (copy.dx, copy.dy) == (distance, 0)
    assert copy.box.width >= HEIGHT - abs(distance) - 14


def test_what_is_beside_the_page_stays() -> None:
    before = page(seed=2)
    text = page(2 * HEIGHT, seed=3)
    before[100:400, 128:512] = text[:300, 128:512]
    now = before.copy()
    now[100:400, 128:512] = text[40:340, 128:512]
    copy = find(before, now, WHOLE)
    assert copy is not None
    assert (copy.dx, copy.dy) == (0, -40)
    assert (copy.box.left, copy.box.right) == (128, 512)
    assert copy.box.top >= 90
    assert copy.box.bottom <= 370


def test_other_content_has_not_moved() -> None:
    assert find(page(seed=2), page(seed=3), WHOLE) is None
    assert find(page(), page(), WHOLE) is None
    assert find(page(), np.zeros((HEIGHT, WIDTH), "<u4"), WHOLE) is None


def test_boxes_of_any_size_can_be_looked_at() -> None:
    before, now = page(), np.roll(page(), 20, axis=0)
    for width in (1, 15, 63, 64, 65, 200):
        for height in (1, 15, 16, 17, 300):
            box = Box(30, 40, 30 + width, 40 + height)
            copy = find(before, now, box)
            if copy is not None:
                assert box.left <= min(copy.box.left, copy.source.left)
                assert max(copy.box.right, copy.source.right) <= box.right
                assert box.top <= min(copy.box.top, copy.source.top)
                assert max(copy.box.bottom, copy.source.bottom) <= box.bottom
