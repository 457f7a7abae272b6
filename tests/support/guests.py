"""Demo guests to test against, running under a real QEMU."""

import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from caraway.qemu.guest_image import demo_guest
from caraway.qemu.process import Qemu
from support.peers import require_qemu


@asynccontextmanager
async def demo(**options: Any) -> AsyncIterator[Qemu]:
    """Run the demo guest until it is ready; `options` as of `Qemu`."""
    require_qemu()
    async with Qemu(demo_guest(), **options) as vm:
        await vm.wait_for("@ready")
        yield vm


async def press(vm: Qemu, *keys: str) -> None:
    """Press and release keys one by one, by QEMU's names, on the guest's own keyboard."""
    for key in keys:
        for down in (True, False):
            value = {"type": "qcode", "data": key}
            await send_events(vm, ("key", {"key": value, "down": down}))


async def send_events(vm: Qemu, *events: tuple[str, Mapping[str, object]]) -> None:
    """Inject input events of QMP's `input-send-event`."""
    await vm.qmp("input-send-event", events=[{"type": kind, "data": data} for kind, data in events])


def ppm_size_and_crc(ppm: bytes) -> tuple[int, int, int]:
    """Width, height and CRC-32 of the R, G, B bytes of a binary PPM."""
    _, width, height = ppm[:32].split()[:3]
    size = int(width) * int(height) * 3
    return int(width), int(height), zlib.crc32(ppm[-size:])
