"""Save a picture of the screen: screenshot.py URI FILE."""

import asyncio
import sys

import caraway


async def main(uri: str, file: str) -> None:
    async with caraway.connect(uri, channels=["display"]) as session:
        await session.display.ready()
        picture = session.display.screenshot()
    picture.save(file)
    print(f"{picture.width}x{picture.height} -> {file}")


asyncio.run(main(*sys.argv[1:]))
