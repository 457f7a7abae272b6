"""Recorded display messages give the pixels that deployed clients draw."""

import pytest

from support.drawings import Drawings
from support.vectors import load, vectors


def words(data, mask, size):
    code = {1: "B", 2: "H", 4: "I"}[size]
    return [word & mask for word in memoryview(bytes(data)).cast(code)]


@pytest.mark.parametrize("vector", vectors("canvas"))
def test_drawing(vector):
    messages, expected = load(vector)
    drawings = Drawings()
    drawings.run(messages)
    surface, mask = drawings.surfaces.get(0), vector["compare_mask"]
    assert (surface.width, surface.height) == (vector["width"], vector["height"])
    size = surface.pixel_bytes
    pairs = zip(words(surface.data, mask, size), words(expected, mask, size), strict=True)
    assert sum(drawn != word for drawn, word in pairs) <= vector.get("tolerance_pixels", 0)
