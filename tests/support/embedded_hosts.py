"""Embedded guests with a server and a monitor each, that can move from one to the other."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from caraway.embedded import EmbeddedGuest, Machine
from caraway.embedded.memory import PAGE
from caraway.qemu.monitor import Monitor, connect_monitor
from caraway.qemu.process import QmpError
from caraway.server import Server
from caraway.server.control import ControlSocket

HEAD = struct.pack("<8sII", b"CARAWAYM", 1, (32 << 20) // PAGE)
"""What a source says first."""


@dataclass
class Host:
    """A guest or its place, a server, and the monitor of both."""

    guest: EmbeddedGuest
    server: Server
    machine: Machine
    monitor: Monitor
    events: list[tuple[str, Any]]

    async def execute(self, command: str, **arguments: Any) -> Any:
        return await self.monitor.execute(command, **arguments)

    async def refuses(self, command: str, **arguments: Any) -> str:
        with pytest.raises(QmpError) as caught:
            await self.execute(command, **arguments)
        return str(caught.value).partition(f"{command}: ")[2]

    @property
    def statuses(self) -> list[str]:
        """What was told, in short, but for passes."""
        told = [event for event in self.events if event[0] != "MIGRATION_PASS"]
        return [data["status"] if name == "MIGRATION" else name for name, data in told]


@asynccontextmanager
async def host(path: Path, incoming: str | None = None, size: tuple[int, int] = (320, 200)) -> AsyncIterator[Host]:
    guest = EmbeddedGuest(*size)
    server = Server(guest, host="127.0.0.1", port=0)
    machine = Machine(guest, server, incoming=incoming)
    events: list[tuple[str, Any]] = []
    machine.event.connect(lambda name, data: events.append((name, data)))
    control = ControlSocket(server, path, quit=lambda: None, commands=machine.commands)
    async with server, control, connect_monitor(f"unix:{path}", path.name) as monitor:
        machine.event.connect(control.emit)
        await machine.start()
        try:
            yield Host(guest, server, machine, monitor, events)
        finally:
            await machine.aclose()


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[Host, Host, str]]:
    """A source, a target that waits, and the target's address."""
    async with host(folder / "source") as source, host(folder / "target", "tcp:127.0.0.1:0", (640, 480)) as target:
        capabilities = [{"capability": "events", "state": True}]
        for side in source, target:
            await side.execute("migrate-set-capabilities", capabilities=capabilities)
        [address] = (await target.execute("query-migrate"))["socket-address"]
        yield source, target, f"tcp:127.0.0.1:{address['port']}"


async def fence(source: Host) -> None:
    await source.execute(
        "migrate-set-capabilities", capabilities=[{"capability": "pause-before-switchover", "state": True}]
    )
