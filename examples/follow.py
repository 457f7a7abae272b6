"""Tell what happens while a VM moves to another host: follow.py URI [PASSWORD]."""

import asyncio
import sys

import caraway


async def main(uri: str, password: str | None = None) -> None:
    async with caraway.connect(uri, password=password) as session:
        await session.display.ready()
        print("watching", session.endpoint, flush=True)
        async for change in session.migrations():
            print(change, flush=True)
    print("over:", session.error)


asyncio.run(main(*sys.argv[1:]))
