"""`caraway migrate` between two programs that serve embedded guests."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import caraway
from caraway.qemu.monitor import Monitor, connect_monitor
from support.commands import caraway as run_caraway

DEADLINE = 30.0


@asynccontextmanager
async def serving(control: Path, *arguments: str) -> AsyncIterator[tuple[str, Monitor]]:
    """A program that serves; its URI, and its monitor."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", "from caraway.cli import main; main()", "serve"),
        *("--listen", "127.0.0.1", "--port", "0", "--control", str(control), "--json", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            [uri] = json.loads(await process.stdout.readline())["uris"]
        async with connect_monitor(f"unix:{control}") as monitor:
            yield uri, monitor
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def command(folder: Path, port: str) -> list[str]:
    return [
        *("migrate", "--from", f"unix:{folder / 'a'}", "--to", f"unix:{folder / 'b'}", "--uri", "tcp:127.0.0.1:0"),
        *("--spice-host", "127.0.0.1", "--spice-port", port, "--json"),
    ]


async def status(monitor: Monitor) -> Any:
    return (await monitor.execute("query-status"))["status"]


async def until_seen(session: caraway.Session, monitor: Monitor) -> None:
    """Wait until a key has reached the guest, which its counter gives frames to meanwhile."""
    async for _ in session.display.frames():
        if (await monitor.execute("__org.caraway_query_seen"))["keys"]:
            return


async def test_guest_and_viewer_move(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "a") as (here, source),
        serving(tmp_path / "b", "--incoming", "defer") as (there, target),
        caraway.connect(here) as session,
    ):
        await session.display.ready()
        assert await status(target) == "inmigrate"
        ended = await run_caraway(*command(tmp_path, there.rpartition(":")[2]))
        assert ended.code == 0, ended
        assert ended.json["mode"] == "linked early"
        assert ended.json["downtime"] is not None
        assert (await status(source), await status(target)) == ("postmigrate", "running")
        assert f"{session.endpoint.host}:{session.endpoint.port}" == there.removeprefix("spice://")
        await session.inputs.type("x")
        async with asyncio.timeout(DEADLINE):
            await until_seen(session, target)


async def test_target_that_no_viewer_reaches(tmp_path: Path) -> None:
    """The guest stays, and its viewer; the target ends."""
    async with (
        serving(tmp_path / "a") as (here, source),
        serving(tmp_path / "b", "--incoming", "defer") as (_, target),
        caraway.connect(here) as session,
    ):
        await session.display.ready()
        ended = await run_caraway(*command(tmp_path, "1"), "--link-deadline", "1")
        assert ended.code == 8, ended
        assert await status(source) == "running"
        async with asyncio.timeout(DEADLINE):
            await target.ended()
        await session.inputs.type("x")
        async with asyncio.timeout(DEADLINE):
            await until_seen(session, source)
