"""What a viewer notices when its VM moves: our client and the C client (SpiceClientGLib) in turn on the same VM.

    python benchmarks/migration.py [--runs 5] [--rtt 0 60] [--modes seamless semi-seamless switch-host] [--json]

For each mode and round-trip time one VM, the demo guest counting 50 times a second on its screen, goes from QEMU to
QEMU; at each hop the other client looks at it, so that both see the same VM and the same noise of the machine. Each
client is a process of its own which, whenever all that has come is drawn, compares the pixels of the counter with what
they were (the C client's is `tests/support/spice_gtk_child.py`, ours `_viewer.py`), and gets a key (press and release)
every 20 ms from here. Both servers stand behind a relay that keeps every byte back for half of the round-trip time;
without a delay there is one for switch-host only, where it takes the capabilities for the other modes out of the links
of both clients.

The definitions are those of spec/migration.md, section 14. `gap` is the pause between the last change of the counter's
pixels from the source and the first one from the target, `longest` the longest pause of the whole recording; pictures
without the counter do not count, a change that comes in pieces counts when it is complete, and a counter painted anew
just as it was is no change. `blank` is the time in which the picture was gone or was not the guest's. `keys_lost`
are those pressed that neither guest has read. `link` is from the announcement until the target has all links, `resume`
from RESUME at the target to the end of the gap. Times are milliseconds, medians of the runs; the ratio is ours over the
C client's (smaller is better). Round trips are what the delay adds to the gap or to linking, in round-trip times.

Needs the C client's bindings (`apt-get install python3-gi gir1.2-spiceclientglib-2.0`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import math
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from caraway.qemu.guest_image import demo_guest
from caraway.qemu.migration_plan import Destination, MigrationReport, Plan
from caraway.qemu.monitor import Monitor
from caraway.qemu.orchestrator import migrate
from caraway.qemu.process import Qemu
from caraway.wire.capabilities import MainCapability
from caraway.wire.constants import ChannelType
from support.delay_proxy import delay_proxy, without_capabilities
from support.spice_gtk import Event, SpiceGtk, spice_gtk

COUNTS = 50
KEY_PERIOD = 0.02
PIECES = 0.005
"""Seconds between the pieces of one change."""
REST = 1.0
"""Seconds recorded on either side of a migration."""
SCANCODES = [*range(0x10, 0x1A), *range(0x1E, 0x27), *range(0x2C, 0x33)]
MODES = ("seamless", "semi-seamless", "switch-host")
EARLY_LINKS = 1 << MainCapability.SEMI_SEAMLESS_MIGRATE | 1 << MainCapability.SEAMLESS_MIGRATE


@dataclass(slots=True)
class Run:
    """One migration as one viewer saw it."""

    gap: float
    longest: float
    blank: float
    keys_lost: int
    resume: float
    link: float | None
    downtime: float | None


@dataclass(slots=True)
class Host:
    """A QEMU and where viewers find it."""

    qemu: Qemu
    port: int


# the two clients


@asynccontextmanager
async def caraway() -> AsyncIterator[SpiceGtk]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        Path(__file__).with_name("_viewer.py"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    viewer = SpiceGtk(process)
    hearing = asyncio.create_task(viewer.hear())
    assert process.stdin is not None
    try:
        await viewer.wait("hello")
        yield viewer
    finally:
        process.stdin.close()
        await process.wait()
        await hearing
    assert process.returncode == 0, "our client ended with an error"


CLIENTS: Mapping[str, Callable[[], contextlib.AbstractAsyncContextManager[SpiceGtk]]] = {
    "caraway": caraway,
    "c": spice_gtk,
}


# the VMs


@asynccontextmanager
async def host(mode: str, rtt: float, *extra: str) -> AsyncIterator[Host]:
    kernel = await asyncio.to_thread(demo_guest)
    spice = {"disable-ticketing": True, "seamless-migration": mode == "seamless"}
    async with (
        Qemu(kernel, spice=spice, vga="qxl", memory=32, name="host", extra=extra) as qemu,
        AsyncExitStack() as stack,
    ):
        assert qemu.spice is not None
        assert qemu.spice.port is not None
        port: int = qemu.spice.port
        if rtt or mode == "switch-host":
            rewrite = without_capabilities(ChannelType.MAIN, EARLY_LINKS) if mode == "switch-host" else None
            port = await stack.enter_async_context(delay_proxy("127.0.0.1", port, delay=rtt / 2, rewrite_link=rewrite))
        yield Host(qemu, port)


async def hop(source: Host, target: Host, viewer: SpiceGtk, mode: str, rtt: float) -> Run:
    """Move the VM while a viewer watches and types."""
    await viewer.connect(f"spice://127.0.0.1:{source.port}")
    await source.qemu.ask("count", "@count")
    heard = len(source.qemu.lines)
    resumed: list[float] = []

    def hear(event: Any) -> None:
        if event["event"] == "RESUME":
            stamp = event["timestamp"]
            wall = stamp["seconds"] + stamp["microseconds"] / 1e6
            resumed.append(wall - time.time() + time.monotonic())

    keys = 0

    async def type_keys() -> None:
        nonlocal keys
        due = time.monotonic()
        while True:
            code = SCANCODES[keys % len(SCANCODES)]
            keys += 1
            for down in (True, False):
                viewer.do("key", scancode=code, down=down)
            due += KEY_PERIOD
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    since = viewer.mark
    began = time.monotonic()
    typing = asyncio.create_task(type_keys())
    try:
        await asyncio.sleep(REST)
        with Monitor.of(target.qemu).listen(hear):
            report = await move(source, target, mode)
        await asyncio.sleep(REST)
    finally:
        typing.cancel()
    ended = time.monotonic()
    await asyncio.sleep(REST / 2)
    await target.qemu.ask("count", "@count")
    lines = [*list(source.qemu.lines)[heard:], *target.qemu.lines]
    read = sum(line.startswith("@key ") and line.endswith(" down") for line in lines)
    frames, blank = watch(viewer.events[since:], began, ended)
    # What the source sent before it stopped has come by then, and what the target sends has not.
    switch = resumed[0] + rtt / 2
    begin, end = next(pair for pair in pairwise(frames) if pair[0] <= switch < pair[1])
    return Run(
        gap=1000 * (end - begin),
        longest=1000 * max(later - earlier for earlier, later in pairwise(frames)),
        blank=1000 * blank,
        keys_lost=keys - read,
        resume=1000 * (end - resumed[0]),
        link=None if report.link_time is None else 1000 * report.link_time,
        downtime=None if report.downtime is None else 1000 * report.downtime,
    )


async def move(source: Host, target: Host, mode: str) -> MigrationReport:
    is_late = mode == "switch-host"
    plan = Plan(
        uri=f"unix:{target.qemu.directory}/migration",
        destination=Destination("127.0.0.1", target.port),
        reconnect=is_late,
        link_deadline=0.5 if is_late else 9.0,
    )
    return await migrate(source.qemu, target.qemu, plan)


def watch(events: list[Event], began: float, ended: float) -> tuple[list[float], float]:
    """When changes of the counter were complete, and the seconds without it."""
    pieces: list[tuple[float, int | None]] = []
    blank, blank_since = 0.0, None
    for event in events:
        name, now = event["event"], event["t"]
        if now > ended:
            break
        if name in ("no-primary", "primary") or (name == "frame" and event["blank"]):
            blank_since = blank_since or now
        elif name == "frame":
            if blank_since is not None:
                blank += now - blank_since
                blank_since = None
            pieces.append((now, event["crc"]))
    if blank_since is not None:
        blank += ended - blank_since
    return [began, *changes(pieces), ended], blank


def changes(pieces: list[tuple[float, int | None]]) -> list[float]:
    """When the counter was complete and not what it was: where it was painted anew as before, nothing has changed."""
    times: list[float] = []
    last: int | None = None
    for (now, crc), (later, _) in pairwise([*pieces, (math.inf, None)]):
        if later - now >= PIECES and crc != last:
            last = crc
            times.append(now)
    return times


async def case(mode: str, rtt: float, runs: int) -> dict[str, list[Run]]:
    """All hops of one VM."""
    result: dict[str, list[Run]] = {name: [] for name in CLIENTS}
    async with AsyncExitStack() as stack:
        at = AsyncExitStack()
        stack.push_async_callback(lambda: at.aclose())
        source = await at.enter_async_context(host(mode, rtt))
        await source.qemu.wait_for("@ready")
        await source.qemu.ask(f"rate {COUNTS}", "@ok")
        for number in range(runs):
            # The order changes, for what comes first may have it easier.
            for name in sorted(CLIENTS, reverse=bool(number % 2)):
                there = AsyncExitStack()
                stack.push_async_callback(there.aclose)
                target = await there.enter_async_context(host(mode, rtt, "-incoming", "defer"))
                async with CLIENTS[name]() as viewer:
                    result[name].append(await hop(source, target, viewer, mode, rtt))
                await at.aclose()
                source, at = target, there
    return result


# figures

FIGURES = ("gap", "longest", "blank", "keys_lost", "resume", "link", "downtime")


def median(runs: list[Run], figure: str) -> float | None:
    values = [value for run in runs if (value := getattr(run, figure)) is not None]
    return round(statistics.median(values), 1) if values else None


def summary(runs: dict[str, list[Run]]) -> dict[str, Any]:
    medians = {name: {figure: median(of, figure) for figure in FIGURES} for name, of in runs.items()}
    ours, theirs = medians["caraway"], medians["c"]
    ratio = {f: round(a / b, 2) for f in FIGURES if (a := ours[f]) is not None and (b := theirs[f])}
    return {**medians, "ratio": ratio, "runs": {name: [asdict(run) for run in of] for name, of in runs.items()}}


def round_trips(near: dict[str, Any], far: dict[str, Any], rtt: float) -> dict[str, dict[str, float]]:
    """What the delay adds, in round-trip times."""
    return {
        name: {
            figure: round((far[name][figure] - near[name][figure]) / rtt, 1)
            for figure in ("gap", "link")
            if far[name][figure] is not None and near[name][figure] is not None
        }
        for name in CLIENTS
    }


async def measure(modes: list[str], rtts: list[int], runs: int, *, quiet: bool) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for mode in modes:
        of_mode = result[mode] = {}
        for rtt in rtts:
            row = of_mode[f"rtt {rtt}"] = summary(await case(mode, rtt / 1000, runs))
            if rtt and "rtt 0" in of_mode:
                row["round_trips"] = round_trips(of_mode["rtt 0"], row, rtt)
            if not quiet:
                show(mode, rtt, row)
    return result


def show(mode: str, rtt: int, row: dict[str, Any]) -> None:
    print(f"{mode}, round-trip time {rtt} ms")
    for name in (*CLIENTS, "ratio", "round_trips"):
        if name == "round_trips":
            for client, trips in row.get(name, {}).items():
                print(f"  {client:8}", *(f"{trip} round trips in {figure}" for figure, trip in trips.items()), sep="  ")
        else:
            print(f"  {name:8}", *(f"{f} {row[name].get(f)}" for f in FIGURES), sep="  ", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rtt", type=int, nargs="+", default=[0, 60], help="Milliseconds.")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.getLogger("caraway").addHandler(logging.NullHandler())
    result = asyncio.run(measure(options.modes, options.rtt, options.runs, quiet=options.json))
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
