"""QEMU with a screen that lies in a file: whoever writes to the file draws, and the VM does nothing.

The screen is QEMU's `ramfb` device, which a small guest (`_ramfb_guest.c`) points to a fixed address before it halts;
the VM's memory is the file. QEMU looks at all of such a screen at each refresh, 33 times a second.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

from caraway.qemu.guest_image import FLAGS
from caraway.qemu.process import Qemu
from caraway.qemu.spice_options import SpiceValue

OFFSET = 32 << 20
"""Where the screen begins in the file."""
MEMORY = 64
"""MiB of the VM."""


def build(file: Path, width: int, height: int) -> Path:
    """Make the memory, and beside it the guest for a screen of this size."""
    file.touch()
    os.truncate(file, MEMORY << 20)
    folder = file.parent
    script = resources.files("caraway.qemu") / "guest" / "kernel.ld"
    (folder / "kernel.ld").write_bytes(script.read_bytes())
    source = Path(__file__).with_name("_ramfb_guest.c").resolve()
    values = [f"-DWIDTH={width}", f"-DHEIGHT={height}", f"-DFRAMEBUFFER={OFFSET}ull"]
    subprocess.run(
        ["gcc", *FLAGS, "-Wl,--no-warn-rwx-segments", *values, "-o", "guest.elf", source], cwd=folder, check=True
    )
    return folder / "guest.elf"


@asynccontextmanager
async def screen_in(file: Path, width: int, height: int, spice: dict[str, SpiceValue]) -> AsyncIterator[Qemu]:
    """Run QEMU with a file as its memory."""
    kernel = build(file, width, height)
    backend = f"memory-backend-file,id=memory,size={MEMORY}M,share=on,mem-path={file}"
    extra = ["-device", "ramfb", "-object", backend, "-machine", "memory-backend=memory"]
    async with Qemu(kernel, vga="none", memory=MEMORY, spice=spice, extra=extra) as qemu:
        size = f"{width} {height}".encode()
        while not (await qemu.screendump("ppm")).startswith(b"P6\n" + size):
            pass
        yield qemu
