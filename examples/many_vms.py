"""Take pictures of several VMs at the same time: many_vms.py FOLDER URI..."""

import asyncio
import sys
from pathlib import Path

import caraway


async def picture(uri: str, file: Path) -> str:
    try:
        async with caraway.connect(uri, channels=["display"]) as session:
            await session.display.ready()
            session.display.screenshot().save(file)
    except caraway.CarawayError as error:
        return f"{uri}: {error}"
    return f"{uri}: {file}"


async def main(folder: Path, uris: list[str]) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(picture(uri, folder / f"vm-{n}.png")) for n, uri in enumerate(uris)]
    print(*(task.result() for task in tasks), sep="\n")


asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
