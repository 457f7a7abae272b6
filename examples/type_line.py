"""Type a line of text and press Enter: type_line.py URI TEXT."""

import asyncio
import sys

import caraway


async def main(uri: str, text: str) -> None:
    async with caraway.connect(uri, channels=["inputs"]) as session:
        await session.inputs.type(text)
        await session.inputs.press("enter")


asyncio.run(main(*sys.argv[1:]))
