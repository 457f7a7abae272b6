"""Recorded sessions of real servers through the client: the picture that they leave is the guest's own."""

import asyncio
import math
from pathlib import Path

import pytest
from PIL import Image

from caraway.client.replay import Recording, replaying
from support.captures import captures, facts, require

DEADLINE = 60.0
ROUNDING = 0.005
"""Of the C client's figure in the index."""


async def last_picture(path: Path) -> Image.Image:
    recording = Recording(path)
    try:
        async with asyncio.timeout(DEADLINE), replaying(recording) as session:
            await session.until(recording.finished.wait())
            await session.display.arrived()
            picture = session.display.screenshot()
    finally:
        recording.close()
    return Image.frombytes("RGB", (picture.width, picture.height), picture.rgb)


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal to noise ratio of all components, decibels."""
    squares = sum((a - b) ** 2 for a, b in zip(one.tobytes(), other.tobytes(), strict=True))
    return 10 * math.log10(255**2 * 3 * one.width * one.height / squares) if squares else math.inf


@pytest.mark.parametrize("path", captures())
async def test_last_picture_is_the_guests(path: Path | None) -> None:
    path = require(path)
    picture = await last_picture(path)
    known = facts(path)
    with Image.open(path.with_name(known["truth"])) as file:
        truth = file.convert("RGB")
    assert picture.size == truth.size
    theirs = known["c_client"]
    if theirs["equal"]:
        # a difference of megabytes is not worth a diff
        assert (picture.tobytes() == truth.tobytes()) is True
    else:
        assert psnr(picture, truth) >= theirs["psnr"] - ROUNDING
