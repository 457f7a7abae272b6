"""Hosts of the demonstration that are QEMUs, with libspice-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from caraway.canvas.region import Box
from caraway.cli.demo_hosts import COUNTS
from caraway.cli.outcome import ENTER, Keys
from caraway.migration.destination import Destination
from caraway.qemu.guest_image import demo_guest
from caraway.qemu.process import Qemu


class QemuHost:
    """A QEMU with the demo guest, which tells on its serial line what it sees."""

    def __init__(self, qemu: Qemu) -> None:
        assert qemu.spice is not None
        self.side = qemu
        self.uri = qemu.spice_uri()
        self.transfer = f"unix:{qemu.directory}/migration"
        self.destination = Destination("127.0.0.1", qemu.spice.port)
        self.heard = 0
        """Lines before `count`."""

    async def ready(self) -> str:
        return f"{await self.side.wait_for('@ready')}: a VM"

    async def count(self) -> None:
        await self.side.ask(f"rate {COUNTS}", "@ok")
        await self.side.ask("count", "@count")
        self.heard = len(self.side.lines)

    async def limit(self, bandwidth: int) -> None:
        await self.side.qmp("migrate-set-parameters", **{"max-bandwidth": bandwidth})

    async def line(self) -> str:
        return (await self.side.wait_for("@line")).removeprefix("@line ")

    async def clicked(self) -> str:
        return await self.side.wait_for("@button")

    async def freeze(self) -> bytes:
        await self.side.ask("freeze", "@ok")
        return await self.side.screendump()


class QemuWorld:
    """Starts QEMUs."""

    compares_with = "QEMU's own screendump"
    counter = Box(24, 72, 400, 196)
    title = Box(20, 10, 240, 38)

    @asynccontextmanager
    async def host(self, name: str, *, seamless: bool, incoming: bool = False) -> AsyncIterator[QemuHost]:
        kernel = await asyncio.to_thread(demo_guest)
        spice: dict[str, str | int | bool] = {"disable-ticketing": True, "seamless-migration": seamless}
        extra = ("-incoming", "defer") if incoming else ()
        async with Qemu(kernel, spice=spice, vga="qxl", memory=32, name=name, extra=extra) as qemu:
            yield QemuHost(qemu)

    async def keys(self, source: QemuHost, target: QemuHost, here: QemuHost) -> Keys:
        await here.side.wait_for(f"@key {ENTER} up")
        return Keys([*list(source.side.lines)[source.heard :], *target.side.lines])
