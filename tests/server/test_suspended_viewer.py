"""A viewer whose process stands still while its guest moves: nobody waits for it, and it finds its guest again."""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial

import pytest

from caraway.embedded import EmbeddedGuest
from caraway.migration.destination import Destination
from caraway.migration.source_events import Outcome
from caraway.migration.target import TargetArrival
from caraway.server import Server, arrival
from caraway.server.departures import Departures
from support.serving import until

VIEWER = """
import asyncio, sys, caraway
async def main():
    async with caraway.connect(sys.argv[1]) as session:
        await session.display.ready()
        print("ready", flush=True)
        async for report in session.migrations():
            print(type(report).__name__, flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("stops", ["before it links", "once it has linked"])
async def test_suspended_viewer(stops: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "TargetArrival", partial(TargetArrival, deadline_after_start=0.3))
    here, there = EmbeddedGuest(640, 480), EmbeddedGuest(640, 480)
    there.set_incoming(True)
    source = Server(here, host="127.0.0.1", port=0)
    source.departures = Departures(source, link_deadline=0.5, leave_deadline=0.3)
    async with source, Server(there, host="127.0.0.1", port=0) as target:
        uri = f"spice://127.0.0.1:{source.port}"
        viewer = await asyncio.create_subprocess_exec(sys.executable, "-c", VIEWER, uri, stdout=asyncio.subprocess.PIPE)
        assert viewer.stdout is not None
        try:
            async with asyncio.timeout(60):
                assert await viewer.stdout.readline() == b"ready\n"
                if stops == "before it links":
                    viewer.send_signal(signal.SIGSTOP)
                announcement = await source.announce_migration(Destination("127.0.0.1", target.port))
                linked = await announcement.linked()
                assert len(linked) == (stops != "before it links")
                if linked:
                    viewer.send_signal(signal.SIGSTOP)
                here.video = 2
                for _ in range(100):
                    here.tick()
                    await asyncio.sleep(0)
                here.pause()
                source.migrate_end(True)
                there.set_incoming(False)
                there.resume()
                assert await announcement.over() is Outcome.COMPLETED
                await until(lambda: not source.viewers)
                await until(lambda: not target.viewers)
                viewer.send_signal(signal.SIGCONT)
                await until(lambda: any(one.arrival is None for one in target.viewers.values()))
        finally:
            viewer.kill()
            await viewer.wait()
