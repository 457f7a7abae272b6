import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caraway.client import Screenshot

PIXELS = bytes(range(4 * 3 * 2))
"""3 by 2 pixels: b, g, r and something else that must not be seen."""
RGB = b"".join(PIXELS[at : at + 3][::-1] for at in range(0, len(PIXELS), 4))


@pytest.fixture
def picture() -> Screenshot:
    return Screenshot(3, 2, PIXELS)


def test_colours_in_order(picture: Screenshot) -> None:
    assert picture.rgb == RGB
    assert picture.image().mode == "RGB"
    assert picture.image().getpixel((2, 1)) == tuple(RGB[-3:])


def test_numpy(picture: Screenshot) -> None:
    array = picture.numpy()
    assert array.shape == (2, 3, 3)
    assert array.dtype == np.uint8
    assert array.tobytes() == RGB


def test_fourth_byte_does_not_count(picture: Screenshot) -> None:
    other = bytearray(PIXELS)
    other[3::4] = bytes(6)
    assert Screenshot(3, 2, bytes(other)) == picture
    other[0] ^= 1
    assert Screenshot(3, 2, bytes(other)) != picture
    assert Screenshot(2, 3, PIXELS) != picture
    assert picture != "a picture"


@pytest.mark.parametrize("levels", [2, 256], ids=["flat", "noise"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (333, 77)])
def test_png_holds_every_pixel(size: tuple[int, int], levels: int) -> None:
    width, height = size
    values = np.random.default_rng(1).integers(0, levels, (height, width, 4), np.uint8)
    values[: height // 2] = 7
    picture = Screenshot(width, height, values.tobytes())
    read = Image.open(io.BytesIO(picture.png())).convert("RGB")
    assert (read.size, read.tobytes()) == (size, picture.rgb)


@pytest.mark.parametrize("suffix", ["png", "PNG", "bmp", "ppm", "webp", "jpg", "tiff"])
def test_formats_by_suffix(picture: Screenshot, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"screen.{suffix}"
    picture.save(path)
    with Image.open(path) as read:
        assert read.size == (3, 2)
        if suffix not in ("jpg", "webp"):
            assert read.convert("RGB").tobytes() == RGB


def test_repr(picture: Screenshot) -> None:
    assert repr(picture) == "<Screenshot 3x2>"
