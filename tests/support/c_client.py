"""The C client at a server of ours."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator
from typing import Any

from caraway.server import Display
from support.spice_gtk import SpiceGtk, spice_gtk


def rgb(display: Display) -> bytes:
    """What a display shows, 3 bytes a pixel."""
    shown = bytes(display.pixels[: 4 * display.width * display.height])
    out = bytearray(display.width * display.height * 3)
    for channel in range(3):
        out[channel::3] = shown[2 - channel :: 4]
    return bytes(out)


@contextlib.asynccontextmanager
async def c_client(port: int | None, *, display: int = 0, **options: Any) -> AsyncIterator[SpiceGtk]:
    """One that is connected."""
    async with spice_gtk() as viewer:
        viewer.do("connect", uri=f"spice://127.0.0.1:{port}", region=[0, 0, 8, 8], **options)
        for channel in ("main", "display", "inputs"):
            await viewer.wait("channel", type=channel, what="opened")
        yield viewer


async def until_same(viewer: SpiceGtk, display: Display, number: int = 0) -> None:
    """Wait until the C client's picture equals a display's."""
    picture: Any = None
    try:
        async with asyncio.timeout(20):
            while picture is None or picture["crc"] != zlib.crc32(rgb(display)):
                picture = await viewer.ask("picture", display=number)
    except TimeoutError:
        raise AssertionError(f"the C client shows something else: {picture}") from None
