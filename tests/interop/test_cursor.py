"""The pointer of a real guest: its driver's shapes and moves arrive as they were given."""

import asyncio
import base64
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import caraway
from caraway.client.cursor import CursorChannel
from caraway.qemu.process import Qemu
from support.peers import require

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIDE = 64
LINE = 700
"""Characters that a command to the guest may have."""

FREESTANDING = ["-Os", "-static", "-nostdlib", "-fno-builtin", "-fno-stack-protector", "-s", "-Wl,-n,--build-id=none"]


def program(folder: Path) -> bytes:
    """The program that shows pointers, built for the guest."""
    gcc = require("gcc", "apt-get install gcc")
    source, built = Path(__file__).with_name("pointer.c"), folder / "pointer"
    subprocess.run([gcc, "-Wall", "-Werror", *FREESTANDING, "-o", built, source], check=True)
    return built.read_bytes()


@asynccontextmanager
async def pointers(vm: Qemu, folder: Path) -> AsyncIterator[None]:
    """Let the guest run that program; `show` talks to it."""
    text = base64.b64encode(await asyncio.to_thread(program, folder)).decode()
    await vm.ask("sh rm -f /tmp/pointer*; mkfifo /tmp/pointer", "@rc 0")
    for at in range(0, len(text), LINE):
        await vm.ask(f"sh echo {text[at : at + LINE]} >> /tmp/pointer.base64", "@rc 0")
    await vm.ask("sh base64 -d /tmp/pointer.base64 > /tmp/pointer.run && chmod +x /tmp/pointer.run", "@rc 0")
    await vm.ask("sh (/tmp/pointer.run; echo $? > /tmp/pointer.end) > /dev/null 2>&1 &", "@rc 0")
    try:
        yield
    finally:
        await show(vm, "quit")
        await vm.ask("sh while [ ! -e /tmp/pointer.end ]; do sleep 0.1; done; exit `cat /tmp/pointer.end`", "@rc 0")


async def show(vm: Qemu, word: str) -> None:
    await vm.ask(f"sh echo {word} > /tmp/pointer", "@rc 0")


async def becomes(cursor: CursorChannel, hot_spot: tuple[int, int], place: tuple[int, int], visible: bool) -> None:
    """Wait for a pointer."""
    async with asyncio.timeout(30):
        while (cursor.position, cursor.visible, _hot_spot(cursor)) != (place, visible, hot_spot):
            await cursor.wait_processed(cursor.processed_serial + 1)


def _hot_spot(cursor: CursorChannel) -> tuple[int, int] | None:
    return cursor.shape and (cursor.shape.hot_x, cursor.shape.hot_y)


def pixels(side: int) -> bytes:
    """What the guest draws: columns in red, rows in green, within a corner of that size."""

    def pixel(x: int, y: int) -> bytes:
        return bytes([0x33, 4 * y, 4 * x, 255]) if max(x, y) < side else bytes(4)

    return b"".join(pixel(x, y) for y in range(SIDE) for x in range(SIDE))


async def test_pointer_of_a_guest(small_machines: dict[tuple[str, str], Qemu], tmp_path: Path) -> None:
    vm = small_machines["qxl", "default"]
    async with pointers(vm, tmp_path):
        # Moves are for viewers that do not know where the pointer is: those in mouse mode SERVER.
        async with caraway.connect(vm.spice_uri(), mouse_mode="server") as session:
            await show(vm, "square")
            await becomes(session.cursor, (32, 3), (132, 53), True)
            assert session.cursor.shape is not None
            assert session.cursor.shape.bgra == pixels(SIDE)
            await show(vm, "right")
            await becomes(session.cursor, (32, 3), (152, 53), True)
            await show(vm, "hide")
            await becomes(session.cursor, (32, 3), (152, 53), False)
            await show(vm, "corner")
            await becomes(session.cursor, (4, 3), (104, 53), True)
            assert session.cursor.shape.bgra == pixels(8)
            # The server keeps no place but that of the last move.
            await show(vm, "right")
            await becomes(session.cursor, (4, 3), (124, 53), True)
        async with caraway.connect(vm.spice_uri(), channels=["cursor"]) as later:
            await becomes(later.cursor, (4, 3), (124, 53), True)
