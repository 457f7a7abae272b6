"""Our server as a program of its own for `server.py`: it shows a file of pixels, and says its port.

Each byte on the standard input means that pixels have changed: as with QEMU's `ramfb`, nobody says which.
"""

from __future__ import annotations

import argparse
import asyncio
import mmap
import sys

from caraway.server import DisplayOptions, FramebufferGuest, Server


class Damage(asyncio.Protocol):
    def __init__(self, guest: FramebufferGuest) -> None:
        self.guest = guest
        self.closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.guest.damage()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()


def mapped(file: str) -> mmap.mmap:
    """A file's bytes, as they change."""
    with open(file, "rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("width", type=int)
    parser.add_argument("height", type=int)
    parser.add_argument("streaming")
    options = parser.parse_args()
    pixels = mapped(options.file)
    guest = FramebufferGuest(options.width, options.height, pixels)
    display = DisplayOptions(compression="auto_glz", jpeg="never", zlib="never", streaming=options.streaming)
    async with Server(guest, host="127.0.0.1", port=0, sharing="share", display=display) as server:
        print(server.port, flush=True)
        _, damage = await asyncio.get_running_loop().connect_read_pipe(lambda: Damage(guest), sys.stdin)
        await damage.closed.wait()


if __name__ == "__main__":
    asyncio.run(main())
