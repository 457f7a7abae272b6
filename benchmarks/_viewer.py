"""Our client as a program of its own for `migration.py`, with the C client's commands and events (tests/support).

One JSON command a line on the standard input, one JSON event a line on the standard output, `t` on the system's
monotonic clock. `frame`: the watched region of the picture has changed, told once all that has come is drawn.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import zlib
from typing import Any

from caraway.canvas.screen import Change, Screen
from caraway.client import connect


def tell(event: str, **members: Any) -> None:
    os.write(1, json.dumps({"event": event, "t": time.monotonic(), **members}).encode() + b"\n")


class Watch:
    """Looks at a region of a screen after each change."""

    def __init__(self, screen: Screen, region: tuple[int, int, int, int]) -> None:
        self._screen = screen
        self._region = region
        self._last: int | None = None
        self._is_due = False
        screen.listen(self.changed)

    def changed(self, change: Change | None) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._is_due = False
        left, top, width, height = self._region
        surface = self._screen.surface
        if surface is None or left + width > surface.width or top + height > surface.height:
            return
        crc, colours = 0, set()
        data = memoryview(surface.data)
        for row in range(top, top + height):
            start = row * surface.stride + 4 * left
            pixels = data[start : start + 4 * width]
            crc = zlib.crc32(pixels, crc)
            middle = width // 2 * 4
            colours |= {bytes(pixels[:4]), bytes(pixels[-4:]), bytes(pixels[middle : middle + 4])}
        if crc != self._last:
            self._last = crc
            tell("frame", display=0, crc=crc, blank=len(colours) == 1)


async def main() -> None:
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    tell("hello")
    order = json.loads(await commands.readline())
    async with connect(order["uri"]) as session:
        for type, id in session.channels:
            tell("channel", type=type.name.lower(), id=id, what="opened")
        await session.display.ready()
        Watch(session.display.screen, order["region"]).changed(None)
        while line := await commands.readline():
            key = json.loads(line)
            (session.inputs.key_down if key["down"] else session.inputs.key_up)(key["scancode"])


if __name__ == "__main__":
    asyncio.run(main())
