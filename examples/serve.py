"""Any buffer of pixels as a SPICE server, with a pencil for every viewer: serve.py [PORT]."""

import asyncio
import sys

import caraway
from caraway.server import Display, MouseButtons


class Paper(caraway.FramebufferGuest):
    def pointer_placed(self, display: Display, x: int, y: int, buttons: MouseButtons) -> None:
        if buttons:
            self.pixels[(y * display.width + x) * 4 :][:4] = b"\xff\xff\xff\0"
            self.damage(x, y, 1, 1)


async def main(port: str = "0") -> None:
    async with caraway.Server(Paper(640, 480), port=int(port), sharing="share") as server:
        print(f"spice://localhost:{server.port}", flush=True)
        await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
