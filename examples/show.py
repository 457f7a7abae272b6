"""Type a line slowly, in a window where a person sees it: show.py URI TEXT."""

import asyncio
import sys

import caraway
from caraway.viewer import show_session


async def main(uri: str, text: str) -> None:
    async with caraway.connect(uri) as session, asyncio.TaskGroup() as group:
        window = group.create_task(show_session(session, title="Typing"))
        await session.inputs.type(text + "\n", interval=0.1)
        window.cancel()


asyncio.run(main(*sys.argv[1:]))
