"""What our viewer notices when a guest moves between two servers of ours, beside the C stack between QEMUs.

    python benchmarks/own_migration.py [--runs 5] [--rtt 0 60] [--json]

Two processes of `caraway serve` with the embedded guest, which counts 50 times a second; our client types 50 keys a
second; `migrate` moves the guest, by the control sockets. Both servers stand behind a relay that keeps every byte back
for half of the round-trip time. `gap` is the longest pause between two changes of the counter, `blank` the time without
the guest's picture, `downtime` that of the guest: times in milliseconds, medians of the runs. `beyond` is what the gap
is longer than the downtime, in frames of 20 ms: the aim is 1. The C stack's gaps are those of spec/migration.md 14,
measured with the same definitions between QEMUs.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from caraway.cli.demo_hosts import COUNTS
from caraway.cli.embedded_hosts import EmbeddedWorld
from caraway.cli.gap import Recorder
from caraway.client import connect
from caraway.qemu.migration_plan import Plan
from caraway.qemu.orchestrator import migrate
from support.delay_proxy import delay_proxy

REST = 1.0
"""Seconds recorded on either side of the migration."""

MODES = {"handed over": True, "semi-seamless": False}
C_STACK = {("handed over", 0): 64, ("semi-seamless", 0): 70}
"""Medians of the C stack's picture gap: seamless, and semi-seamless."""


async def move(seamless: bool, rtt: float) -> dict[str, float]:
    """One migration."""
    world = EmbeddedWorld()
    async with (
        world.host("source", seamless=seamless) as source,
        world.host("target", seamless=seamless, incoming=True) as target,
        delay_proxy("127.0.0.1", source.destination.port or 0, delay=rtt / 2) as near,
        delay_proxy("127.0.0.1", target.destination.port or 0, delay=rtt / 2) as far,
        connect(f"spice://127.0.0.1:{near}") as session,
    ):
        await session.display.ready()
        await source.count()
        async with Recorder(session, world.counter, world.title) as recorder:
            await asyncio.sleep(REST)
            to = dataclasses.replace(target.destination, port=far)
            report = await migrate(source.side, target.side, Plan(uri=target.transfer, destination=to))
            await asyncio.sleep(REST)
        await session.inputs.press("enter")
        keys = await world.keys(source, target, target)
    begin, end = recorder.record.gap
    assert report.downtime is not None
    return {
        "gap": 1000 * (end - begin),
        "downtime": 1000 * report.downtime,
        "blank": 1000 * recorder.record.blank,
        "keys_lost": len(recorder.record.keys) - keys.pressed,
        "keys_stuck": keys.stuck,
    }


async def measure(rtts: list[int], runs: int) -> list[dict[str, Any]]:
    """A row for each mode and round-trip time."""
    rows = []
    for mode, seamless in MODES.items():
        for rtt in rtts:
            made = [await move(seamless, rtt / 1000) for _ in range(runs)]
            row: dict[str, Any] = {name: round(statistics.median(run[name] for run in made), 1) for name in made[0]}
            beyond = statistics.median((run["gap"] - run["downtime"]) * COUNTS / 1000 for run in made)
            rows.append({"mode": mode, "rtt": rtt, **row, "beyond": round(beyond, 1), "c": C_STACK.get((mode, rtt))})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rtt", type=int, nargs="+", default=[0, 60])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = asyncio.run(measure(options.rtt, options.runs))
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items() if value is not None))


if __name__ == "__main__":
    main()
