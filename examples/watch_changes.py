"""Tell how much of the screen changes, picture by picture: watch_changes.py URI COUNT."""

import asyncio
import sys

import numpy as np

import caraway


async def main(uri: str, count: int) -> None:
    async with caraway.connect(uri, channels=["display"]) as session:
        before = None
        async for picture in session.display.frames():
            now = picture.numpy()
            if before is not None and before.shape == now.shape:
                changed = np.any(before != now, axis=2).mean()
                print(f"{changed:7.2%} changed")
                count -= 1
            if not count:
                return
            before = now


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
