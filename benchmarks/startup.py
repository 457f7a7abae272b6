"""`caraway screenshot` from exec to exit on an idle VM: wall and CPU seconds, peak memory.

    python benchmarks/startup.py [--runs 10] [--json]

Times are the least of all runs, which other work on the machine disturbs the least. The ratios are over
`python -c 'import asyncio'` in the same interpreter, which any client in Python needs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from caraway.qemu.guest_image import demo_guest
from caraway.qemu.process import Qemu


def run(arguments: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds, peak MiB."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    assert process.returncode == 0, arguments
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def best(arguments: list[str], runs: int) -> dict[str, float]:
    run(arguments)
    wall, cpu, peak = zip(*(run(arguments) for _ in range(runs)), strict=True)
    return {
        "wall_seconds": round(min(wall), 3),
        "cpu_seconds": round(min(cpu), 3),
        "peak_mib": round(max(peak), 1),
    }


async def measure(runs: int) -> dict[str, dict[str, float]]:
    caraway = str(Path(sys.executable).with_name("caraway"))
    async with Qemu(await asyncio.to_thread(demo_guest), spice={"disable-ticketing": True}, memory=32) as qemu:
        await qemu.wait_for("@ready")
        await qemu.ask("freeze", "@ok")
        with tempfile.TemporaryDirectory() as folder:
            command = [caraway, "screenshot", qemu.spice_uri(), "-o", f"{folder}/screen.png"]
            result = {
                "import asyncio": await asyncio.to_thread(best, [sys.executable, "-c", "import asyncio"], runs),
                "screenshot": await asyncio.to_thread(best, command, runs),
            }
    ours, floor = result["screenshot"], result["import asyncio"]
    result["ratio"] = {key: round(ours[key] / floor[key], 2) for key in ours}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = asyncio.run(measure(options.runs))
    if options.json:
        print(json.dumps(result))
        return
    for name, row in result.items():
        print(f"{name:16} wall {row['wall_seconds']:6.3f}  CPU {row['cpu_seconds']:6.3f}  peak {row['peak_mib']:6.1f}")


if __name__ == "__main__":
    main()
