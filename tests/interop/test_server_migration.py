"""Viewers between servers of ours, and between one of ours and one of QEMU's: they follow the guest."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

import caraway
from caraway.embedded import EmbeddedGuest
from caraway.migration.destination import Destination
from caraway.migration.reports import Mode
from caraway.migration.source_events import (
    Outcome,
)
from caraway.server import Server
from support.c_client import c_client, until_same
from support.screens import becomes_same_picture, rgb
from support.serving import SeenGuest, until
from support.spice_gtk import SpiceGtk

SIZE = (640, 480)


@dataclass
class Place:
    """A guest's place at a host."""

    guest: EmbeddedGuest
    server: Server

    @property
    def destination(self) -> Destination:
        return Destination("127.0.0.1", self.server.port)

    def leave_for(self, target: Place) -> None:
        """What a hypervisor does."""
        self.guest.pause()
        target.guest.restore(self.guest.state())
        target.guest.set_incoming(False)
        target.guest.resume()
        self.server.migrate_end(True)
        target.guest.tick()


@contextlib.asynccontextmanager
async def places(count: int, **options: Any) -> AsyncIterator[list[Place]]:
    """The first has a guest, the others wait for it."""
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for number in range(count):
            guest = EmbeddedGuest(*SIZE)
            if number:
                guest.pause()
                guest.set_incoming(True)
            server = Server(guest, host="127.0.0.1", port=0, **options)
            made.append(Place(guest, await stack.enter_async_context(server)))
        made[0].guest.tick()
        yield made


async def follows(viewer: SpiceGtk, place: Place, text: str) -> None:
    """The viewer shows what the guest shows, and what is typed comes once and in order."""
    await until_same(viewer, place.guest.display)
    before = place.guest.typed
    for key in text:
        await viewer.press(key)
    await until(lambda: place.guest.typed == before + text)
    place.guest.tick()
    await until_same(viewer, place.guest.display)


@pytest.mark.parametrize("mode", [Mode.SEAMLESS, Mode.SEMI_SEAMLESS])
async def test_linked_viewer_follows(mode: Mode) -> None:
    seamless = mode is Mode.SEAMLESS
    async with places(2, seamless_migration=seamless) as (source, target), c_client(source.server.port) as viewer:
        await follows(viewer, source, "abc")
        announcement = await source.server.announce_migration(target.destination)
        source.server.migrate_start()
        assert [*(await announcement.linked()).values()] == [mode]
        source.guest.tick()
        source.leave_for(target)
        assert await announcement.over() is Outcome.COMPLETED
        assert not announcement.failures
        await follows(viewer, target, "ca")
        assert not source.server.viewers


async def test_target_that_refuses_state() -> None:
    async with (
        places(1) as [source],
        places(2, seamless_migration=False) as (_, target),
        c_client(source.server.port) as viewer,
    ):
        await follows(viewer, source, "abc")
        announcement = await source.server.announce_migration(target.destination)
        assert [*(await announcement.linked()).values()] == [Mode.SEMI_SEAMLESS]
        source.leave_for(target)
        assert await announcement.over() is Outcome.COMPLETED
        await follows(viewer, target, "ca")


async def test_guest_that_has_gone_before_its_viewer_could_link() -> None:
    async with places(2) as (source, target), c_client(source.server.port) as viewer:
        await follows(viewer, source, "abc")
        announcement = await source.server.announce_migration(target.destination)
        source.server.migrate_start()
        source.leave_for(target)
        assert await announcement.over() is Outcome.COMPLETED
        await follows(viewer, target, "ca")


async def test_migration_that_is_called_off() -> None:
    async with places(2) as (source, target), c_client(source.server.port) as viewer:
        await follows(viewer, source, "abc")
        announcement = await source.server.announce_migration(target.destination)
        source.server.migrate_start()
        await announcement.linked()
        source.guest.pause()
        source.guest.resume()
        source.server.migrate_end(False)
        assert await announcement.over() is Outcome.CANCELLED
        await follows(viewer, source, "ca")
        # It leaves main's link open, and makes another when the guest moves after all.
        await until(lambda: all(len(viewer.channels) <= 1 for viewer in target.server.viewers.values()))
        announcement = await source.server.announce_migration(target.destination)
        await announcement.linked()
        source.leave_for(target)
        await follows(viewer, target, "bb")


async def test_target_that_cannot_be_reached() -> None:
    async with places(1) as [source], c_client(source.server.port) as viewer:
        await follows(viewer, source, "abc")
        announcement = await source.server.announce_migration(Destination("127.0.0.1", 1))
        assert await announcement.linked() == {}
        assert [*announcement.failures.values()] == ["the viewer could not link the target"]
        source.server.migrate_end(False)
        await follows(viewer, source, "ca")


async def test_two_moves_in_a_row() -> None:
    async with places(3) as (first, second, third), c_client(first.server.port) as viewer:
        await follows(viewer, first, "ab")
        for source, target in (first, second), (second, third):
            announcement = await source.server.announce_migration(target.destination)
            assert [*(await announcement.linked()).values()] == [Mode.SEAMLESS]
            source.leave_for(target)
            await follows(viewer, target, "c")
        assert not first.server.viewers
        await until(lambda: not second.server.viewers)


async def test_several_viewers_move_together() -> None:
    async with (
        places(2, sharing="share") as (source, target),
        c_client(source.server.port) as one,
        c_client(source.server.port) as other,
    ):
        await follows(one, source, "a")
        await follows(other, source, "b")
        announcement = await source.server.announce_migration(target.destination)
        assert [*(await announcement.linked()).values()] == [Mode.SEAMLESS, Mode.SEAMLESS]
        source.leave_for(target)
        assert await announcement.over() is Outcome.COMPLETED
        await follows(one, target, "ab")
        await follows(other, target, "c")


@contextlib.asynccontextmanager
async def stand_in(size: tuple[int, int], **options: Any) -> AsyncIterator[tuple[SeenGuest, Server]]:
    """A server of ours with a guest that plays the part of QEMU's."""
    guest = SeenGuest(*size)
    async with Server(guest, host="127.0.0.1", port=0, **options) as server:
        yield guest, server


@pytest.mark.defect("D-22")
@pytest.mark.parametrize("mode", [Mode.SEAMLESS, Mode.SEMI_SEAMLESS])
async def test_viewer_of_qemu_comes_to_our_server(small_guests: Any, mode: Mode) -> None:
    """The state that libspice-server hands over is read by its sizes, and the first picture and key are right."""
    seamless = mode is Mode.SEAMLESS
    async with (
        small_guests.another("std", **{"seamless-migration": seamless}) as vm,
        caraway.connect(vm.spice_uri()) as session,
    ):
        await vm.ask("photo 3", "@ok")
        await becomes_same_picture(session, vm)
        width, height = session.display.size
        async with stand_in((width, height)) as (guest, target):
            guest.set_running(False)
            guest.set_incoming(True)
            about = {"protocol": "spice", "hostname": "127.0.0.1", "port": target.port}
            await vm.qmp("client_migrate_info", **about)
            await until(lambda: any(len(v.channels) == len(session.channels) for v in target.viewers.values()))
            assert {*next(iter(target.viewers.values())).channels} == {*session.channels}
            last = rgb(await vm.screendump("ppm"), (width, height))
            for channel in range(3):
                guest.pixels[2 - channel :: 4] = last[channel::3]
            await vm.qmp("migrate", uri="exec:cat > /dev/null")
            await vm.wait_event("SPICE_MIGRATE_COMPLETED")
            guest.set_incoming(False)
            guest.set_running(True)
            [viewer] = target.viewers.values()
            await until(lambda: viewer.arrival is None)
            assert session.main.session_id == viewer.id
            # Something that GLZ refers to, on top of what the client had of QEMU.
            stripe = bytes([40, 90, 160, 0]) * (width // 2)
            for row in range(100, 220):
                guest.pixels[row * 4 * width : row * 4 * width + len(stripe)] = stripe
            guest.display.damage(0, 100, width, 120)
            await until(lambda: session.display.screenshot().bgrx[::4] == bytes(guest.pixels)[::4])
            await session.inputs.press("a")
            assert ("keys", b"\x1e") in await guest.until_seen(2)


@pytest.mark.parametrize("mode", [Mode.SEAMLESS, Mode.SEMI_SEAMLESS])
async def test_viewer_of_our_server_comes_to_qemu(small_guests: Any, mode: Mode) -> None:
    seamless = mode is Mode.SEAMLESS
    options = {"seamless-migration": seamless}
    async with (
        stand_in((1280, 800), seamless_migration=seamless) as (guest, source),
        small_guests.awaiting("std", **options) as vm,
        caraway.connect(f"spice://127.0.0.1:{source.port}") as session,
    ):
        await session.display.ready()
        announcement = await source.announce_migration(Destination("127.0.0.1", vm.spice.port))
        assert [*(await announcement.linked()).values()] == [mode]
        source.migrate_start()
        guest.set_running(False)
        source.migrate_end(True)
        await small_guests.load(vm, "std")
        assert await announcement.over() is Outcome.COMPLETED
        assert not announcement.failures
        await vm.ask("photo 2", "@ok")
        await becomes_same_picture(session, vm)
        await session.inputs.press("a")
        await vm.wait_for("@key")
