"""What our server costs: against libspice-server in QEMU on the same pixels, with much to show, and with many viewers.

    python benchmarks/server.py [--parts c many-pixels viewers idle] [--frames 75] [--rounds 2] [--json]

c: scripts play at 25 frames a second on a screen of 1024x768, a file that is the screen of our server and of QEMU in
turn (`_ramfb.py`). Neither is told what has changed, only that something may have. Our client watches in a process of
its own until it shows the last frame in every pixel; both servers have auto_glz and send nothing with loss, but for
the script that is streamed. Figures are CPU milliseconds and bytes on the display channel, from the first frame until
the last one is shown, for each frame that the client saw. CPU is that of the whole process, the VM being halted. QEMU
looks for changes 33 times a second, also for nobody: `net` is without what the same script costs it with no viewer,
`worker` is the thread of libspice-server, which encodes and sends. The ratio is ours over the whole of QEMU.

many-pixels: 1920x1080; a tenth of the pixels changes each time that a viewer, which draws nothing, has got the frame
before. Frames a second, and CPU milliseconds for each.

viewers: the same at ten frames a second on 1024x768, for 1 viewer and for 100. CPU for one of these over that for one.

idle: memory of 500 viewers of four channels each, to which nothing happens: what the server shares with no other
process (USS), without what the system keeps for sockets.

Ratios are smaller if better. Figures are the best of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import mmap
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _ramfb import OFFSET, screen_in
from _scenes import Array, Script, first_picture, mark, move, photo_parts, photos, scroll, text_parts, video

FPS = 25
DEADLINE = 60.0
GRACE = 5.0
SETTLING = 0.5
"""Seconds before and between the scripts."""

SCRIPTS: Mapping[str, tuple[Script, bool]] = {
    "a terminal scrolls": (scroll, False),
    "a window moves": (move, False),
    "photos": (photos, False),
    "a video": (video, False),
    "a video, streamed": (video, True),
}

Figures = dict[str, Any]


class Child:
    """A program beside this one that answers each line with one, in JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ask(self, line: str = "") -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        return await self.hear()

    async def hear(self) -> Any:
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            return json.loads(await self.process.stdout.readline())


@asynccontextmanager
async def child(name: str, *arguments: object) -> AsyncIterator[Child]:
    """Run a program of this folder; it ends with its standard input."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        Path(__file__).with_name(name),
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    try:
        yield Child(process)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(GRACE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@dataclass(slots=True)
class Screen:
    """A server's screen, from outside.

    pixels: what it shows. changed: tell the server that they are others. file, offset: where they lie.
    """

    pixels: Array
    changed: Callable[[], None]
    file: Path
    offset: int
    pid: int
    port: int

    @property
    def cpu(self) -> float:
        """CPU seconds of the server's process."""
        return time.clock_gettime(~self.pid << 3 | 2)

    @property
    def worker_cpu(self) -> float:
        """CPU seconds of libspice-server's thread, to a hundredth; 0 without it."""
        seconds = 0.0
        for stat in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            name, rest = stat.read_text().rsplit(") ", 1)
            if name.endswith("SPICE Worker"):
                user, system = rest.split()[11:13]
                seconds += (int(user) + int(system)) / 100
        return seconds

    @property
    def own_memory(self) -> int:
        """Bytes of the server's process that it shares with no other."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return sum(int(kib) << 10 for kib in re.findall(r"^Private_\w+: +(\d+) kB", rollup, re.MULTILINE))


def pixels_of(file: Path, offset: int, width: int, height: int) -> Array:
    """The pixels in a file, to be written to."""
    with open(file, "r+b") as opened:
        mapped = mmap.mmap(opened.fileno(), 0)
    return np.ndarray((height, width, 4), np.uint8, mapped, offset)


@asynccontextmanager
async def ours(width: int, height: int, *, streamed: bool = False) -> AsyncIterator[Screen]:
    """Our server with a screen."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        file = Path(folder) / "pixels"
        file.touch()
        os.truncate(file, width * height * 4)
        pixels = pixels_of(file, 0, width, height)
        pixels[:] = first_picture(width, height)
        async with child("_serving.py", file, width, height, "filter" if streamed else "off") as server:
            stdin = server.process.stdin
            assert stdin is not None
            port = await server.hear()
            yield Screen(pixels, lambda: stdin.write(b"."), file, 0, server.process.pid, port)


@asynccontextmanager
async def theirs(width: int, height: int, *, streamed: bool = False) -> AsyncIterator[Screen]:
    """QEMU with a screen."""
    spice = {
        "disable-ticketing": True,
        "image-compression": "auto_glz",
        "jpeg-wan-compression": "never",
        "zlib-glz-wan-compression": "never",
        "streaming-video": "filter" if streamed else "off",
    }
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        file = Path(folder) / "memory"
        async with screen_in(file, width, height, spice) as qemu:
            assert qemu.spice is not None
            assert qemu.spice.port is not None
            pixels = pixels_of(file, OFFSET, width, height)
            pixels[:] = first_picture(width, height)
            yield Screen(pixels, lambda: None, file, OFFSET, qemu.pid, qemu.spice.port)


async def play(screen: Screen, script: Script, frames: int, fps: float) -> None:
    """Draw that many frames, none of them half."""
    picture = screen.pixels.copy()
    drawn = script(picture)
    began = time.monotonic()
    for number in range(frames):
        next(drawn)
        mark(picture, number)
        await asyncio.sleep(began + number / fps - time.monotonic())
        screen.pixels[:] = picture
        screen.changed()
    await asyncio.sleep(began + frames / fps - time.monotonic())


# against libspice-server


async def watched(screen: Screen, scripts: Mapping[str, Script], frames: int) -> dict[str, Figures]:
    """Play scripts before our client."""
    result = {}
    uri = f"spice://127.0.0.1:{screen.port}"
    async with child("_looking.py", uri, screen.file, screen.offset) as viewer:
        for name, script in scripts.items():
            await play(screen, script, 1, FPS)
            await shown(viewer)
            await asyncio.sleep(SETTLING)
            before, cpu, worker = await viewer.ask(), screen.cpu, screen.worker_cpu
            await play(screen, script, frames, FPS)
            after = await shown(viewer)
            used, used_by_worker, sent = screen.cpu - cpu, screen.worker_cpu - worker, after["bytes"] - before["bytes"]
            # The mark may lie in a video, where some of its colours are others.
            seen = min(after["frames"], frames)
            result[name] = {
                "frames": seen,
                "cpu_ms": used / seen * 1000,
                "worker_ms": used_by_worker / seen * 1000,
                "kib": sent / seen / 1024,
            }
    return result


async def shown(viewer: Child) -> Any:
    """Wait until the viewer shows what the screen does, in every pixel. Gives what it has seen meanwhile."""
    frames = 0
    async with asyncio.timeout(DEADLINE):
        while True:
            seen = await viewer.ask()
            frames += seen["frames"]
            if seen["equal"]:
                return seen | {"frames": frames}
            await asyncio.sleep(0.05)


async def unwatched(screen: Screen, scripts: Mapping[str, Script], frames: int) -> dict[str, float]:
    """CPU milliseconds of a frame of scripts before nobody."""
    result = {}
    for name, script in scripts.items():
        await asyncio.sleep(SETTLING)
        cpu = screen.cpu
        await play(screen, script, frames, FPS)
        result[name] = (screen.cpu - cpu) / frames * 1000
    return result


async def against_c(frames: int, rounds: int) -> list[Figures]:
    rows = []
    for streamed in (False, True):
        scripts = {name: script for name, (script, is_streamed) in SCRIPTS.items() if is_streamed is streamed}
        async with ours(1024, 768, streamed=streamed) as us, theirs(1024, 768, streamed=streamed) as them:
            alone = await unwatched(them, scripts, frames)
            runs = [(await watched(us, scripts, frames), await watched(them, scripts, frames)) for _ in range(rounds)]
        for name in scripts:
            our, their = (min((run[which][name] for run in runs), key=lambda of: of["cpu_ms"]) for which in (0, 1))
            rows.append(
                {
                    "script": name,
                    "ours": our,
                    "c": their | {"net_ms": their["cpu_ms"] - alone[name]},
                    "ratio": {figure: our[figure] / their[figure] for figure in ("cpu_ms", "kib")},
                }
            )
    return rows


# with much to show, and many viewers


async def flat_out(script: Script, seconds: float) -> Figures:
    """Frames one after another, each as soon as the one before has come."""
    async with ours(1920, 1080) as screen, child("_crowd.py", screen.port, 1) as viewer:
        await viewer.hear()
        picture = screen.pixels.copy()
        drawn, frames = script(picture), 0
        next(drawn)
        screen.pixels[:] = picture
        screen.changed()
        await asyncio.sleep(SETTLING)
        before, cpu, began = await viewer.ask("0"), screen.cpu, time.monotonic()
        while (took := time.monotonic() - began) < seconds:
            frames += 1
            next(drawn)
            screen.pixels[:] = picture
            screen.changed()
            seen = await viewer.ask(str(before["area"] + frames * (1920 // 4 * 4) * (1080 // 10)))
        cpu = screen.cpu - cpu
    sent = seen["bytes"] - before["bytes"]
    return {"fps": frames / took, "cpu_ms": cpu / frames * 1000, "bytes": sent / frames}


async def before_many(count: int, frames: int) -> Figures:
    """CPU of a script before so many viewers."""
    async with ours(1024, 768) as screen, child("_crowd.py", screen.port, count) as crowd:
        await crowd.hear()
        await play(screen, text_parts, 1, 1)
        before, cpu = await crowd.ask("0"), screen.cpu
        await play(screen, text_parts, frames, 10)
        cpu = screen.cpu - cpu
        seen = await crowd.ask("0")
        area = (seen["area"] - before["area"]) / count / (frames - 1) / (1024 * (768 // 10))
    return {"cpu": cpu, "shown": area, "bytes": (seen["bytes"] - before["bytes"]) / count}


async def many_viewers(count: int, frames: int, rounds: int) -> Figures:
    runs = [(await before_many(1, frames), await before_many(count, frames)) for _ in range(rounds)]
    one, many = (min((run[which] for run in runs), key=lambda of: of["cpu"]) for which in (0, 1))
    return {"viewers": count, "one": one, "many": many, "ratio": many["cpu"] / one["cpu"] / count}


async def idle(count: int) -> Figures:
    """Memory of viewers to which nothing happens."""
    channels = ("--channels", "display", "inputs", "cursor")
    async with ours(1024, 768) as screen, AsyncExitStack() as stack:
        first = await stack.enter_async_context(child("_crowd.py", screen.port, 1, *channels))
        await first.hear()
        await asyncio.sleep(SETTLING)
        memory, began, cpu = screen.own_memory, time.monotonic(), screen.cpu
        others = await stack.enter_async_context(child("_crowd.py", screen.port, count, *channels))
        await others.hear()
        took, cpu = time.monotonic() - began, screen.cpu - cpu
        await asyncio.sleep(2 * SETTLING)
        grown, cpu_after = screen.own_memory - memory, screen.cpu
        await asyncio.sleep(5)
        cpu_idle = (screen.cpu - cpu_after) / 5
    return {
        "viewers": count,
        "kib_each": grown / count / 1024,
        "linked_in": took,
        "link_cpu": cpu,
        "idle_cpu": cpu_idle,
    }


# figures


def show_c(rows: list[Figures]) -> None:
    print("CPU and bytes of a frame   ours     QEMU   (net, worker)   ratio     ours       QEMU   ratio   frames seen")
    for row in rows:
        us, them, ratio = row["ours"], row["c"], row["ratio"]
        print(
            f"{row['script']:<20} {us['cpu_ms']:7.2f} ms {them['cpu_ms']:6.2f} ms"
            f" ({them['net_ms']:5.2f}, {them['worker_ms']:5.2f}) {ratio['cpu_ms']:6.2f}"
            f" {us['kib']:7.1f} KiB {them['kib']:7.1f} {ratio['kib']:7.2f} {us['frames']:6} {them['frames']:4}"
        )


def show_many_pixels(kind: str, row: Figures) -> None:
    fps, cpu, kib = row["fps"], row["cpu_ms"], row["bytes"] / 1024
    print(f"1920x1080, a tenth, {kind:<6} {fps:6.1f} frames/s  {cpu:6.2f} ms  {kib:7.1f} KiB each")


def show_viewers(row: Figures) -> None:
    one, many = row["one"], row["many"]
    print(
        f"{row['viewers']} viewers: {many['cpu']:.2f} s, one: {one['cpu']:.2f} s, each over one: {row['ratio']:.2f}"
        f"  shown {many['shown']:.2f} of the pixels, {one['shown']:.2f} to one"
    )


def show_idle(row: Figures) -> None:
    print(
        f"{row['viewers']} idle viewers: {row['kib_each']:.1f} KiB each, linked in {row['linked_in']:.1f} s"
        f" ({row['link_cpu']:.1f} s CPU), then {row['idle_cpu'] * 100:.1f} % of a core"
    )


async def measure(options: argparse.Namespace) -> Figures:
    result: Figures = {}

    def done(part: str, figures: Any, show: Callable[[Any], None]) -> None:
        result[part] = figures
        if not options.json:
            show(figures)
            sys.stdout.flush()

    if "c" in options.parts:
        done("c", await against_c(options.frames, options.rounds), show_c)
    if "many-pixels" in options.parts:
        for kind, script in {"text": text_parts, "photos": photo_parts}.items():
            runs = [await flat_out(script, 4) for _ in range(options.rounds)]
            best = min(runs, key=lambda run: run["cpu_ms"])
            done(f"many-pixels {kind}", best, lambda row, kind=kind: show_many_pixels(kind, row))  # type: ignore[misc]
    if "viewers" in options.parts:
        done("viewers", await many_viewers(100, 50, options.rounds), show_viewers)
    if "idle" in options.parts:
        done("idle", await idle(500), show_idle)
    return result


PARTS = ("c", "many-pixels", "viewers", "idle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--frames", type=int, default=75)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = asyncio.run(measure(options))
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
