"""Hosts of the demonstration that are Caraway's own: processes of `caraway serve` with the embedded guest."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from caraway.canvas.region import Box
from caraway.cli.demo_hosts import COUNTS, TEXT
from caraway.cli.outcome import ENTER, Keys
from caraway.embedded import EmbeddedGuest
from caraway.embedded.layout import Layout
from caraway.errors import CarawayError, DeadlineError
from caraway.migration.destination import Destination
from caraway.qemu.monitor import Monitor, connect_monitor

SIZE = (1024, 768)

START_DEADLINE = 20.0
SEEN_DEADLINE = 10.0
END_DEADLINE = 5.0
LOOK = 0.02
"""Seconds between looks at what the guest has seen."""

_PROGRAM = (sys.executable, "-c", "from caraway.cli import main; main()", "serve")


def counting_guest() -> EmbeddedGuest:
    """The guest of these hosts, for `caraway serve --guest`."""
    return EmbeddedGuest(*SIZE, rate=COUNTS, name="Caraway")


class EmbeddedHost:
    """One process, and its control socket."""

    def __init__(self, uri: str, monitor: Monitor) -> None:
        self.uri, self.side = uri, monitor
        self.transfer = "tcp:127.0.0.1:0"
        self.destination = Destination("127.0.0.1", int(uri.rpartition(":")[2]))
        self.seen = 0
        """Keys before `count`."""

    async def ready(self) -> str:
        return f"{(await self.side.execute('query-name'))['name']}: a guest of Caraway's own"

    async def count(self) -> None:
        self.seen = len((await self.query())["keys"])

    async def limit(self, bandwidth: int) -> None:
        await self.side.execute("migrate-set-parameters", max_bandwidth=bandwidth)

    async def line(self) -> str:
        """Enter was typed: the line is complete, and another begun."""
        await self.wait_for_enter()
        return TEXT

    async def clicked(self) -> str:
        async with asyncio.timeout(SEEN_DEADLINE):
            while not (buttons := (await self.query())["buttons"]):  # noqa: ASYNC110
                await asyncio.sleep(LOOK)
        return f"button {buttons[0]}"

    async def freeze(self) -> bytes:
        await self.side.execute("stop")
        with tempfile.TemporaryDirectory(prefix="caraway-demo-") as folder:
            path = Path(folder) / "screen.png"
            await self.side.execute("screendump", filename=str(path), format="png")
            return path.read_bytes()

    async def query(self) -> dict[str, Any]:
        """What the guest has seen."""
        seen: dict[str, Any] = await self.side.execute("__org.caraway_query_seen")
        return seen

    async def wait_for_enter(self) -> list[dict[str, Any]]:
        """The keys that the guest has seen, once the last of them is Enter."""
        try:
            async with asyncio.timeout(SEEN_DEADLINE):
                while True:
                    keys: list[dict[str, Any]] = (await self.query())["keys"]
                    if keys and keys[-1] == {"code": int(ENTER, 16), "down": False}:
                        return keys
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            raise DeadlineError(f"{self.side.name}: the guest has not seen Enter") from None


class EmbeddedWorld:
    """Starts processes."""

    compares_with = "the guest's own memory"
    counter = Layout.of(*SIZE).counter
    title = Box(0, Layout.of(*SIZE).hints.top, 240, SIZE[1])

    @asynccontextmanager
    async def host(self, name: str, *, seamless: bool, incoming: bool = False) -> AsyncIterator[EmbeddedHost]:
        with tempfile.TemporaryDirectory(prefix="caraway-demo-") as folder:
            control = Path(folder) / "control"
            arguments = ["--guest", f"{__name__}:counting_guest", "--listen", "127.0.0.1", "--port", "0", "--json"]
            arguments += ["--control", str(control)]
            arguments += [] if seamless else ["--no-seamless-migration"]
            arguments += ["--incoming", "defer"] if incoming else []
            process = await asyncio.create_subprocess_exec(*_PROGRAM, *arguments, stdout=PIPE, stderr=PIPE)
            try:
                uri = await _started(process, name)
                async with connect_monitor(f"unix:{control}", name) as monitor:
                    yield EmbeddedHost(uri, monitor)
            finally:
                await _end(process)

    async def keys(self, source: EmbeddedHost, target: EmbeddedHost, here: EmbeddedHost) -> Keys:
        """What the guest has seen goes with it."""
        keys = await here.wait_for_enter()
        return Keys(f"@key {key['code']:x} {'down' if key['down'] else 'up'}" for key in keys[source.seen :])


async def _started(process: Process, name: str) -> str:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_DEADLINE):
            said = await process.stdout.readline()
    except TimeoutError:
        raise DeadlineError(f"{name}: caraway serve has not started within {START_DEADLINE:g} s") from None
    if not said:
        assert process.stderr is not None
        raise CarawayError(f"{name}: caraway serve has ended: {(await process.stderr.read()).decode().strip()}")
    uri: str = json.loads(said)["uris"][0]
    return uri


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(END_DEADLINE):
            await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
