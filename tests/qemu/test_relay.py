"""Two servers' control sockets, and the relay between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import caraway
from caraway.embedded import EmbeddedGuest
from caraway.migration.destination import Destination
from caraway.qemu.monitor import Monitor, connect_monitor
from caraway.qemu.relay import relaying
from caraway.server import Server
from caraway.server.control import ControlSocket
from support.serving import until


@asynccontextmanager
async def controlled(guest: EmbeddedGuest, path: Path) -> AsyncIterator[tuple[Server, Monitor]]:
    async with (
        Server(guest, host="127.0.0.1", port=0) as server,
        ControlSocket(server, path, quit=lambda: None),
        connect_monitor(f"unix:{path}", path.name) as monitor,
    ):
        yield server, monitor


async def test_target_goes_on_with_what_the_source_tells(tmp_path: Path) -> None:
    guest, place = EmbeddedGuest(320, 200), EmbeddedGuest(320, 200)
    place.pause()
    place.set_incoming(True)
    async with (
        controlled(guest, tmp_path / "source") as (source, here),
        controlled(place, tmp_path / "target") as (target, there),
        caraway.connect(f"spice://127.0.0.1:{source.port}") as session,
    ):
        await session.display.ready()
        async with relaying(here, there):
            await here.execute("client_migrate_info", protocol="spice", hostname="127.0.0.1", port=target.port)
            await until(lambda: len(target.viewers) == 1 and all(v.arrival for v in target.viewers.values()))
            [arriving] = target.viewers.values()
            await until(lambda: len(arriving.channels) == len(next(iter(source.viewers.values())).channels))
            source.migrate_start()
            guest.pause()
            place.restore(guest.state())
            place.set_incoming(False)
            place.resume()
            await session.inputs.type("abc")
            source.migrate_end(True)
            await until(lambda: arriving.arrival is None and not source.viewers)
        await session.inputs.type("def")
        await until(lambda: place.typed.endswith("abcdef"))
        shown = bytes(place.display.pixels[: 4 * 320 * 200])
        await until(lambda: session.display.screenshot().bgrx == shown)


async def test_servers_that_do_not_know_it(tmp_path: Path) -> None:
    class Other:
        name = "other"

        async def execute(self, command: str, /, **arguments: object) -> object:
            assert command == "query-commands"
            return [{"name": "query-spice"}]

    async with (
        controlled(EmbeddedGuest(320, 200), tmp_path / "source") as (source, here),
        relaying(here, Other()),  # type: ignore[arg-type]
    ):
        announcement = await source.announce_migration(Destination("x", 1))
        assert await announcement.linked() == {}
