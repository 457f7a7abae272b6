"""Our client as a program of its own for `server.py`: it draws what comes and compares it with a file of pixels.

For each line on the standard input it tells in JSON how many bytes have come on its display channel, how many frames
were seen since the line before, by their marks, and whether its picture equals the file in every pixel.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import mmap
import socket
import struct
import sys

import numpy as np
from _scenes import MARK_LEFT, MARK_SIDE, MARK_TOP

from caraway.canvas.screen import Change
from caraway.client import connect

BYTES_RECEIVED = 128
"""Offset in Linux's `struct tcp_info`."""


def mapped(file: str) -> mmap.mmap:
    """A file's bytes, as they change."""
    with open(file, "rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("uri")
    parser.add_argument("file")
    parser.add_argument("offset", type=int)
    options = parser.parse_args()
    pixels = mapped(options.file)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async with connect(options.uri) as session:
        display = session.display
        await display.ready()
        seen = set()

        def changed(change: Change) -> None:
            surface = display.screen.surface
            if surface is not None:
                at = (MARK_TOP + MARK_SIDE // 2) * surface.stride + 4 * (MARK_LEFT + MARK_SIDE // 2)
                seen.add((surface.data[at] >> 4, surface.data[at + 1] >> 4))

        display.screen.listen(changed)
        wire = display.connection._transport.get_extra_info("socket")
        while await commands.readline():
            surface = display.screen.surface
            shown = np.ndarray((surface.height, surface.width, 4), np.uint8, surface.data, 0, (surface.stride, 4, 1))
            guest = np.ndarray(shown.shape, np.uint8, pixels, options.offset)
            (count,) = struct.unpack_from(
                "<Q", wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), BYTES_RECEIVED
            )
            equal = bool((shown[..., :3] == guest[..., :3]).all())
            print(json.dumps({"bytes": count, "frames": len(seen), "equal": equal}), flush=True)
            seen.clear()


if __name__ == "__main__":
    asyncio.run(main())
