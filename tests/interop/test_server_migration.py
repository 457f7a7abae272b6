"""The C client between servers of ours: it follows the guest, whatever the servers offer it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from caraway.embedded import EmbeddedGuest
from caraway.migration.destination import Destination
from caraway.migration.reports import Mode
from caraway.migration.source_events import (
    Outcome,
)
from caraway.server import Server
from support.c_client import c_client, until_same
from support.serving import until
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
