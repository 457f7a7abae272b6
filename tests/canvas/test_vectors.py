"""Recorded display messages give the pixels that deployed clients draw."""

import pytest

from support.drawings import Drawings
from support.vectors import load, vectors

OPERATIONS = {
    "fill",
    "copy",
    "blend",
    "scale",
    "opaque",
    "bwi",
    "copybits",
    "rop3",
    "transparent",
    "alpha",
    "composite",
    "surface",
}


def words(data, mask, size):
    code = {1: "B", 2: "H", 4: "I"}[size]
    return [word & mask for word in memoryview(bytes(data)).cast(code)]


@pytest.mark.parametrize("vector", vectors("canvas", only=OPERATIONS))
def test_drawing(vector):
    messages, expected = load(vector)
    drawings = Drawings()
    drawings.run(messages)
    surface, mask = drawings.surfaces[0], vector["compare_mask"]
    assert (surface.width, surface.height) == (vector["width"], vector["height"])
    assert words(surface.data, mask, surface.pixel_bytes) == words(expected, mask, surface.pixel_bytes)
