import asyncio
import sys

import caraway


async def main(uri: str) -> None:
    async with caraway.connect(uri) as session:
        await session.display.ready()
        await session.inputs.type("hello\n")
        await session.inputs.click(400, 300)
        session.display.screenshot().save("screen.png")


asyncio.run(main(sys.argv[1]))
