"""A desktop without a screen: Xvfb, what its windows show, and a person's hands."""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.peers import require

DEADLINE = 60.0
WIDTH, HEIGHT = 1024, 800


class Desktop:
    """One X server.

    display: what programs want to know.
    """

    def __init__(self, display: str, framebuffer: Path) -> None:
        self.display = display
        self._file = framebuffer

    @property
    def environment(self) -> dict[str, str]:
        """For the programs that are to appear."""
        return {**os.environ, "DISPLAY": self.display, "GDK_BACKEND": "x11", "NO_AT_BRIDGE": "1"}

    def pixels(self) -> tuple[int, bytes]:
        """Bytes of a row, and all that is shown: 4 bytes a pixel, blue first."""
        with self._file.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            header = struct.unpack(">25I", memory[:100])
            size, stride, colours = header[0], header[12], header[19]
            start = size + 12 * colours
            return stride, memory[start : start + stride * HEIGHT]

    def find(self, picture: bytes, width: int) -> tuple[int, int] | None:
        """Where a picture of 4 bytes a pixel is shown exactly, its fourth byte left out; None if nowhere."""
        stride, shown = self.pixels()
        wanted = [_opaque(picture[at : at + 4 * width]) for at in range(0, len(picture), 4 * width)]
        rows = [_opaque(shown[at : at + stride]) for at in range(0, len(shown), stride)]
        for top in range(len(rows) - len(wanted) + 1):
            at = rows[top].find(wanted[0])
            while at >= 0:
                if all(row[at : at + 4 * width] == line for row, line in zip(rows[top:], wanted, strict=False)):
                    return at // 4, top
                at = rows[top].find(wanted[0], at + 4)
        return None

    async def until_shown(self, picture: bytes, width: int) -> tuple[int, int]:
        """Where a picture is shown, once it is."""
        async with asyncio.timeout(DEADLINE):
            while (place := self.find(picture, width)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            return place

    async def do(self, *command: str) -> None:
        """Move, click and type, as xdotool does."""
        program = require("xdotool", "apt-get install xdotool")
        process = await asyncio.create_subprocess_exec(program, *command, env=self.environment)
        async with asyncio.timeout(DEADLINE):
            assert await process.wait() == 0


@asynccontextmanager
async def desktop(folder: Path) -> AsyncIterator[Desktop]:
    """Run an X server whose screen is a file in a folder."""
    program = require("Xvfb", "apt-get install xvfb")
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(
        program,
        *("-displayfd", str(write), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-fbdir", str(folder), "-nolisten", "tcp"),
        pass_fds=[write],
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(write)
    try:
        async with asyncio.timeout(DEADLINE):
            number = (await asyncio.to_thread(os.read, read, 16)).strip().decode()
        yield Desktop(f":{number}", folder / "Xvfb_screen0")
    finally:
        os.close(read)
        process.terminate()
        await process.wait()


@asynccontextmanager
async def window(desktop: Desktop, program: str, *arguments: str) -> AsyncIterator[None]:
    """Run a program on a desktop; it is ended at the end."""
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        env=desktop.environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _opaque(row: bytes) -> bytes:
    """The same pixels with a fourth byte of zero."""
    out = bytearray(row)
    out[3::4] = bytes(len(out) // 4)
    return bytes(out)
