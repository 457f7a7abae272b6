"""The demonstration of `caraway demo`: a first look at a guest, then migrations of every kind under a viewer."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from caraway.cli.demo_hosts import CLICK, TEXT, Host, World
from caraway.cli.gap import Record, Recorder
from caraway.cli.outcome import Outcome, print_table
from caraway.cli.timeline import draw
from caraway.client import Session, connect
from caraway.errors import CarawayError, MigrationError
from caraway.migration.reports import Cancelled, Reconnecting, Switching
from caraway.qemu.migration_plan import Phase, Plan, Progress
from caraway.qemu.orchestrator import migrate

REST = 0.8
"""Seconds recorded on either side of a migration."""
SLOW = 200_000
"""Bytes a second for the migration that is cancelled, so that there is time to do so."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One migration."""

    name: str
    follows: str
    """`migration` of `connect`."""
    seamless: bool
    """The option of the source's SPICE server."""
    cancelled: bool = False


SCENARIOS = (
    Scenario("cancelled", "auto", seamless=True, cancelled=True),
    Scenario("seamless", "auto", seamless=True),
    Scenario("semi-seamless", "auto", seamless=False),
    Scenario("switch-host", "switch-host", seamless=False),
)


class Demo:
    """The whole demonstration. world: where its hosts come from. view: show the sessions in a window, too."""

    def __init__(self, world: World[Any], folder: Path, *, quiet: bool, view: bool = False) -> None:
        self._world, self._folder, self._view = world, folder, view
        self._quiet = quiet
        self._pictures: list[str] = []

    async def run(self) -> dict[str, Any]:
        """Show everything; gives the result for `--json`."""
        logging.getLogger("caraway").addHandler(logging.NullHandler())
        outcomes: dict[str, Outcome] = {}
        records: dict[str, Record] = {}
        async with self._world.host("host-0", seamless=True) as host:
            self._say(f"{await host.ready()} on {host.uri}")
            await self._first_look(host)
        for scenario in SCENARIOS:
            outcomes[scenario.name], records[scenario.name] = await self._migrate(scenario)
        timeline = self._folder / "timeline.png"
        draw(records, timeline)
        self._pictures.append(str(timeline))
        if not self._quiet:
            print_table(outcomes)
        self._say(f"pictures and timeline: {self._folder}/")
        return {
            "migrations": {name: outcome.as_json() for name, outcome in outcomes.items()},
            "pictures": self._pictures,
        }

    # the screen, the keyboard, the mouse

    async def _first_look(self, host: Host) -> None:
        async with connect(host.uri) as session, self._showing(session):
            await session.display.ready()
            self._say(f"connected to {session.main.vm_name!r}: {session.display.size} pixels")
            await session.inputs.type(TEXT + "\n")
            self._say(f"typed; the guest read {await host.line()!r}")
            await session.inputs.click(*CLICK)
            self._say(f"clicked at {CLICK}; the guest says {await host.clicked()}")
            truth = await host.freeze()
            await session.display.wait_stable()
            self._picture(session, "screen")
            self._compare(truth, session)

    def _compare(self, screen: bytes, session: Session) -> None:
        from PIL import Image

        with Image.open(io.BytesIO(screen)) as truth:
            own = session.display.screenshot()
            if truth.convert("RGB").tobytes() != own.rgb:
                raise CarawayError(f"the picture differs from {self._world.compares_with}")
        self._say(f"all {own.width * own.height:,} pixels equal {self._world.compares_with}")

    # migrations

    async def _migrate(self, scenario: Scenario) -> tuple[Outcome, Record]:
        async with AsyncExitStack() as stack:
            source, target = [
                await stack.enter_async_context(self._world.host(name, seamless=scenario.seamless, incoming=incoming))
                for name, incoming in (("host-a", False), ("host-b", True))
            ]
            await source.ready()
            session = await stack.enter_async_context(
                connect(source.uri, migration=scenario.follows)  # type: ignore[arg-type]
            )
            await session.display.ready()
            await stack.enter_async_context(self._showing(session))
            await session.inputs.type(f"{scenario.name} migration:\n")
            await source.line()
            channels, session_id = dict(session.channels), session.main.session_id
            await source.count()
            async with Recorder(session, self._world.counter, self._world.title) as recorder:
                await asyncio.sleep(REST)
                self._picture(session, f"{scenario.name}-before")
                downtime = await self._move(scenario, source, target, session)
                await asyncio.sleep(REST)
            self._picture(session, f"{scenario.name}-after")
            here = source if scenario.cancelled else target
            await session.inputs.press("enter")
            keys = await self._world.keys(source, target, here)
        record = recorder.record
        begin, end = record.gap
        kept = sum(session.channels.get(key) is channel for key, channel in channels.items())
        outcome = Outcome(
            mode=scenario.name,
            picture_gap_ms=round((end - begin) * 1000),
            blank_ms=round(record.blank * 1000),
            keys_sent=len(record.keys),
            keys_lost=len(record.keys) - keys.pressed,
            keys_stuck=keys.stuck,
            channels_kept=f"{kept} of {len(channels)}",
            session_kept=session.main.session_id == session_id,
            downtime_ms=None if downtime is None else round(downtime * 1000),
        )
        self._say(f"{scenario.name}: the picture stood still for {outcome.picture_gap_ms} ms")
        return outcome, record

    async def _move(self, scenario: Scenario, source: Host, target: Host, session: Session) -> float | None:
        """Migrate; gives the guest's downtime, None if it did not move."""
        if scenario.cancelled:
            await source.limit(SLOW)
        watching = asyncio.create_task(self._watch(session, scenario))
        work: asyncio.Task[Any]
        with self._bar(scenario.name) as bar:

            def progress(news: Progress) -> None:
                bar(news)
                if scenario.cancelled and news.phase is Phase.MIGRATING and news.transferred > SLOW // 4:
                    work.cancel()

            plan = Plan(
                uri=target.transfer,
                destination=target.destination,
                reconnect=scenario.follows == "switch-host",
                link_deadline=1.0 if scenario.follows == "switch-host" else 9.0,
            )
            work = asyncio.create_task(migrate(source.side, target.side, plan, progress=progress))
            try:
                report = await work
            except asyncio.CancelledError:
                if not scenario.cancelled:
                    raise
                report = None
            finally:
                watching.cancel()
        if scenario.cancelled and report is not None:
            raise MigrationError("the migration that was to be cancelled was faster")
        return None if report is None else report.downtime

    async def _watch(self, session: Session, scenario: Scenario) -> None:
        """Save what is shown at the moment of the switch."""
        async for report in session.migrations():
            if isinstance(report, Switching | Reconnecting | Cancelled):
                self._picture(session, f"{scenario.name}-during")

    @asynccontextmanager
    async def _showing(self, session: Session) -> AsyncIterator[None]:
        """Have a window on a session, if one is wanted."""
        if not self._view:
            yield
            return
        from caraway.viewer import show_session

        window = asyncio.create_task(show_session(session, title="Caraway"))
        try:
            yield
        finally:
            window.cancel()
            await asyncio.gather(window, return_exceptions=True)

    # telling

    def _say(self, text: str) -> None:
        if not self._quiet:
            click.echo(text)

    def _picture(self, session: Session, name: str) -> None:
        path = self._folder / f"{name}.png"
        session.display.screenshot().save(path)
        if str(path) not in self._pictures:
            self._pictures.append(str(path))

    @contextlib.contextmanager
    def _bar(self, name: str) -> Any:
        """A line of progress on the standard error, if that is a terminal."""
        if self._quiet or not sys.stderr.isatty():
            yield lambda news: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        with Bar(TextColumn("{task.description:30}"), BarColumn(), console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(name, total=None)

            def show(news: Any) -> None:
                done = news.total - news.remaining if news.total and news.remaining is not None else 0
                bar.update(task, description=f"{name}: {news.phase}", total=news.total, completed=done)

            yield show
