"""Speed of the codecs' kernels: megapixels a second; instructions and mispredictions a pixel.

    python benchmarks/codecs.py [KERNEL ...] [--instructions] [--check] [--level v3|baseline] [--json]

Speeds are of 1920x1080 pictures, the best of several runs. `--instructions` counts with valgrind's callgrind, which
must be installed, in 640x360 crops and through the Python entry point. `--check` counts, and fails where a budget of
`KERNELS` is exceeded; `spec/kernels.md` says where those of level v3 come from. A kernel without a budget is not
counted then.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from caraway.codecs import glz, lz, quic
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.codecs.kernels import LEVEL

WIDTH, HEIGHT = 1920, 1080
CROP_WIDTH, CROP_HEIGHT = 640, 360
NAMES = ("desktop", "mixed", "photo", "gradient", "noise", "flat")
REPEATS = 5
TOLERANCE = 1.03
TOLERANCE_OF_MISPREDICTIONS = 1.15
SLACK = 0.001
"""Mispredictions a pixel that are no sign of anything; they vary from run to run with where code comes to lie."""

Row = dict[str, float]


class Budget(NamedTuple):
    """At most so many a pixel, give or take 3 %."""

    instructions: float
    mispredictions: float


@dataclass(frozen=True, slots=True)
class Kernel:
    """`run(prepare(picture))` is what counts; only `run` is counted. Both are found by pickle: no lambdas."""

    prepare: Callable[[Bitmap], Any]
    run: Callable[[Any], object]
    budgets: dict[str, dict[str, Budget]] = field(default_factory=dict)
    """By level, then by picture."""


def itself(picture: Bitmap) -> Bitmap:
    return picture


@functools.cache
def dictionary(size: int) -> glz.Dictionary:
    """Has room for one picture of this size: what is encoded twice does not match itself."""
    return glz.Dictionary(size + 1)


def glz_encode(picture: Bitmap) -> bytes:
    return dictionary(picture.width * picture.height).encode(picture)


def glz_decode(payload: bytes) -> Bitmap:
    return glz.Window().decode(payload)


KERNELS = {
    "lz decode": Kernel(
        lz.encode,
        lz.decode,
        {
            "v3": {"photo": Budget(4.3, 0.002), "desktop": Budget(3.1, 0.032)},
            "baseline": {"photo": Budget(4.8, 0.002), "desktop": Budget(3.4, 0.05)},
        },
    ),
    "lz encode": Kernel(
        itself,
        lz.encode,
        {
            "v3": {"photo": Budget(43, 0.002), "desktop": Budget(10, 0.062)},
            "baseline": {"photo": Budget(36, 0.002), "desktop": Budget(9.6, 0.086)},
        },
    ),
    "glz decode": Kernel(
        glz_encode,
        glz_decode,
        {
            "v3": {"photo": Budget(1.3, 0.006), "desktop": Budget(4.8, 0.034)},
            "baseline": {"photo": Budget(3.9, 0.006), "desktop": Budget(4.7, 0.066)},
        },
    ),
    "glz encode": Kernel(
        itself,
        glz_encode,
        {
            "v3": {"photo": Budget(18.7, 0.032), "desktop": Budget(10.2, 0.027)},
            "baseline": {"photo": Budget(21.1, 0.032), "desktop": Budget(12.4, 0.075)},
        },
    ),
    "quic decode": Kernel(
        quic.encode,
        quic.decode,
        {
            "v3": {
                "desktop": Budget(29.7, 0.155),
                "photo": Budget(102.9, 0.073),
                "gradient": Budget(143.4, 0.335),
                "noise": Budget(87.7, 0.08),
            },
            "baseline": {
                "desktop": Budget(35.3, 0.155),
                "photo": Budget(131.7, 0.073),
                "gradient": Budget(170.5, 0.335),
                "noise": Budget(97.1, 0.08),
            },
        },
    ),
    "quic encode": Kernel(
        itself,
        quic.encode,
        {
            "v3": {
                "desktop": Budget(25.2, 0.18),
                "photo": Budget(63.9, 0.18),
                "gradient": Budget(112.4, 0.35),
                "noise": Budget(65.3, 0.18),
            },
            "baseline": {
                "desktop": Budget(34, 0.18),
                "photo": Budget(84.5, 0.18),
                "gradient": Budget(135.6, 0.42),
                "noise": Budget(86.1, 0.18),
            },
        },
    ),
}


def pictures(names: Iterable[str]) -> dict[str, Bitmap]:
    """Pictures by name, always the same ones."""
    from _pictures import PICTURES

    return {
        name: Bitmap(WIDTH, HEIGHT, PixelFormat.BGRX32, WIDTH * 4, PICTURES[name](WIDTH, HEIGHT).tobytes())
        for name in names
    }


def crop(picture: Bitmap) -> Bitmap:
    """The middle of a picture."""
    left, top = (WIDTH - CROP_WIDTH) // 2, (HEIGHT - CROP_HEIGHT) // 2
    starts = range(top * picture.stride + left * 4, (top + CROP_HEIGHT) * picture.stride, picture.stride)
    data = b"".join([picture.data[at : at + CROP_WIDTH * 4] for at in itertools.islice(starts, CROP_HEIGHT)])
    return Bitmap(CROP_WIDTH, CROP_HEIGHT, picture.format, CROP_WIDTH * 4, data)


def speeds(names: Iterable[str]) -> dict[str, Row]:
    """Megapixels a second of each kernel for each picture."""
    made = pictures(NAMES)
    found: dict[str, Row] = {}
    for name in names:
        kernel = KERNELS[name]
        found[name] = {}
        for label, picture in made.items():
            argument = kernel.prepare(picture)
            best = min(_seconds(kernel, argument) for _ in range(REPEATS))
            found[name][label] = round(WIDTH * HEIGHT / best / 1e6, 1)
    return found


def _seconds(kernel: Kernel, argument: Any) -> float:
    start = time.perf_counter()
    kernel.run(argument)
    return time.perf_counter() - start


def counts(jobs: list[tuple[str, str]], level: str) -> dict[str, dict[str, Budget]]:
    """Instructions and mispredictions a pixel of (kernel, picture), on one level of processor."""
    if not jobs:
        return {}
    made = {label: crop(picture) for label, picture in pictures({label for _, label in jobs}).items()}
    work = [(KERNELS[name].run, KERNELS[name].prepare(made[label])) for name, label in jobs]
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder, "work"), Path(folder, "counts")
        file.write_bytes(pickle.dumps(work))
        tool = ["valgrind", "--tool=callgrind", "--branch-sim=yes", f"--callgrind-out-file={out}"]
        # Each call of a function that nothing else calls ends one part of the counts.
        tool += ["--dump-before=getppid", sys.executable, __file__, "--work", str(file)]
        environment = os.environ | {"CARAWAY_KERNELS": level, "PYTHONHASHSEED": "0"}
        run = subprocess.run(tool, env=environment, capture_output=True, text=True, check=False)
        if run.returncode:
            raise SystemExit(f"valgrind failed:\n{run.stderr}")
        parts = [_part(Path(f"{out}.{number}")) for number in range(1, 2 * len(jobs) + 3)]
    nothing = parts[1]
    found: dict[str, dict[str, Budget]] = {}
    for (name, label), part in zip(jobs, parts[3::2], strict=True):
        pixels = CROP_WIDTH * CROP_HEIGHT
        instructions, mispredictions = (max(0, own - base) / pixels for own, base in zip(part, nothing, strict=True))
        found.setdefault(name, {})[label] = Budget(round(instructions, 3), round(mispredictions, 4))
    return found


def _part(file: Path) -> tuple[int, int]:
    """Instructions, and mispredicted conditional and indirect jumps, in one part of callgrind's output."""
    lines = dict(
        line.split(":", 1) for line in file.read_text().splitlines() if line.startswith(("events:", "summary:"))
    )
    cost = dict(zip(lines["events"].split(), map(int, lines["summary"].split()), strict=False))
    return cost["Ir"], cost.get("Bcm", 0) + cost.get("Bim", 0)


def do_work(file: Path) -> None:
    """Run each piece of work twice, the second time between two marks; first of all, nothing."""
    for run, argument in [(len, b""), *pickle.loads(file.read_bytes())]:
        run(argument)
        os.getppid()
        run(argument)
        os.getppid()


def excesses(found: dict[str, dict[str, Budget]], level: str) -> list[str]:
    """What costs more than its budget."""
    lines = []
    for name, row in found.items():
        for label, cost in row.items():
            budget = KERNELS[name].budgets.get(level, {}).get(label)
            if budget is None:
                continue
            if cost.instructions > budget.instructions * TOLERANCE:
                lines.append(
                    f"{name}, {label}: {cost.instructions} instructions a pixel, {budget.instructions} allowed"
                )
            if cost.mispredictions > budget.mispredictions * TOLERANCE_OF_MISPREDICTIONS + SLACK:
                lines.append(
                    f"{name}, {label}: {cost.mispredictions} mispredictions a pixel, {budget.mispredictions} allowed"
                )
    return lines


def show(title: str, table: dict[str, Row], digits: int) -> None:
    labels = list(dict.fromkeys(label for row in table.values() for label in row))
    print(f"{title:28}" + "".join(f"{label:>10}" for label in labels))
    for name, row in table.items():
        cells = (f"{row[label]:10.{digits}f}" if label in row else f"{'':10}" for label in labels)
        print(f"  {name:26}" + "".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help=", ".join(KERNELS))
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--level", choices=("v3", "baseline"), default=LEVEL.replace("v4", "v3"), help="for counts")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        do_work(options.work)
        return
    names = options.kernels or list(KERNELS)
    if unknown := set(names) - set(KERNELS):
        parser.error(f"no kernel {', '.join(sorted(unknown))}")
    if not options.check and not options.instructions:
        table = speeds(names)
        print(json.dumps(table)) if options.json else show(f"MPixel/s, {LEVEL}", table, 1)
        return
    jobs = [(name, label) for name in names for label in NAMES]
    if options.check:
        jobs = [(name, label) for name, label in jobs if label in KERNELS[name].budgets.get(options.level, {})]
    found = counts(jobs, options.level)
    if options.json:
        print(json.dumps({name: {label: cost._asdict() for label, cost in row.items()} for name, row in found.items()}))
    else:
        for title, column, digits in (("instructions a pixel", 0, 2), ("mispredictions a pixel", 1, 4)):
            table = {name: {label: cost[column] for label, cost in row.items()} for name, row in found.items()}
            show(f"{title}, {options.level}", table, digits)
    if options.check and (over := excesses(found, options.level)):
        sys.exit("\n".join(over))


if __name__ == "__main__":
    main()
