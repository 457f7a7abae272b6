"""Two servers with embedded guests, our client between them: viewers that go after their guest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

import caraway
from caraway.client import Session
from caraway.embedded import EmbeddedGuest
from caraway.migration.destination import Destination
from caraway.migration.reports import Mode
from caraway.migration.source_events import (
    Outcome,
)
from caraway.server import Server
from caraway.wire.constants import ChannelType
from caraway.wire.messages.inputs import MouseButton
from support.serving import until


@dataclass
class Hosts:
    """A guest at its source, and its place at the target."""

    guest: EmbeddedGuest
    source: Server
    place: EmbeddedGuest
    target: Server

    @property
    def destination(self) -> Destination:
        return Destination("127.0.0.1", self.target.port)

    def move(self) -> None:
        """What a hypervisor does at the end of a migration."""
        self.guest.pause()
        self.place.restore(self.guest.state())
        self.place.set_incoming(False)
        self.place.resume()
        self.source.migrate_end(True)


@asynccontextmanager
async def hosts(source: dict[str, Any] | None = None, target: dict[str, Any] | None = None) -> AsyncIterator[Hosts]:
    guest, place = EmbeddedGuest(640, 480), EmbeddedGuest(640, 480)
    place.pause()
    place.set_incoming(True)
    async with (
        Server(guest, host="127.0.0.1", port=0, **(source or {})) as one,
        Server(place, host="127.0.0.1", port=0, **(target or {})) as other,
    ):
        yield Hosts(guest, one, place, other)


@asynccontextmanager
async def watching(server: Server, **options: Any) -> AsyncIterator[Session]:
    async with caraway.connect(f"spice://127.0.0.1:{server.port}", **options) as session:
        await session.display.ready()
        yield session


async def shows(session: Session, guest: EmbeddedGuest) -> None:
    """The session's picture becomes the guest's."""
    display = guest.displays[0]
    await until(
        lambda: (
            session.display.screen.surface is not None
            and session.display.screenshot().bgrx == bytes(display.pixels[: 4 * display.width * display.height])
        )
    )


@pytest.mark.parametrize("mode", [Mode.SEAMLESS, Mode.SEMI_SEAMLESS, Mode.SWITCH_HOST])
async def test_viewer_follows(mode: Mode) -> None:
    async with hosts() as at, watching(at.source, migration="auto" if mode is Mode.SEAMLESS else mode.value) as session:
        at.guest.tick()
        await shows(session, at.guest)
        announcement = await at.source.announce_migration(at.destination)
        at.source.migrate_start()
        expected = {} if mode is Mode.SWITCH_HOST else {next(iter(at.source.viewers)): mode}
        assert await announcement.linked() == expected
        at.guest.tick()
        at.move()
        assert await announcement.over() is Outcome.COMPLETED
        at.place.tick()
        await until(lambda: any(viewer.arrival is None for viewer in at.target.viewers.values()))
        await shows(session, at.place)
        await session.inputs.type("x")
        await until(lambda: "x" in at.place.typed)
        assert not at.source.viewers


TOKEN = bytes(range(16))


async def test_servers_hand_over() -> None:
    async with hosts() as at, watching(at.source) as session:
        at.source.departures.handed_over.connect(at.target.take_over)
        at.target.expect(TOKEN)
        at.guest.tick()
        await shows(session, at.guest)
        announcement = await at.source.announce_migration(at.destination, TOKEN)
        at.source.migrate_start()
        await announcement.linked()
        at.guest.tick()
        at.guest.pause()
        [arriving] = at.target.viewers.values()
        at.place.restore(at.guest.state())
        at.place.set_incoming(False)
        at.place.resume()
        at.place.tick()
        # Nothing was said by the client, or to it by the source, and the first picture is written.
        display = arriving.channels[ChannelType.DISPLAY, 0]
        await until(lambda: display.flow.sent_serial > 3 and display.flow.room)
        await session.inputs.type("before")
        at.source.migrate_end(True)
        await session.inputs.type(" after")
        assert await announcement.over() is Outcome.COMPLETED
        await until(lambda: at.place.typed.endswith("before after"))
        await shows(session, at.place)
        assert arriving.arrival is None
        assert session.main.session_id == arriving.id


async def test_handed_over_and_taken_back() -> None:
    async with hosts() as at, watching(at.source) as session:
        at.source.departures.handed_over.connect(at.target.take_over)
        at.target.expect(TOKEN)
        announcement = await at.source.announce_migration(at.destination, TOKEN)
        at.source.migrate_start()
        await announcement.linked()
        at.guest.pause()
        await session.inputs.type("kept")
        at.guest.resume()
        at.source.migrate_end(False)
        assert await announcement.over() is Outcome.CANCELLED
        await until(lambda: at.guest.typed.endswith("kept"))
        at.guest.tick()
        await shows(session, at.guest)
        await until(lambda: not at.target.viewers)


async def test_token_that_nobody_expects() -> None:
    async with hosts() as at, watching(at.source) as session:
        announcement = await at.source.announce_migration(at.destination, TOKEN)
        at.source.migrate_start()
        assert [*(await announcement.linked()).values()] == [Mode.SEAMLESS]
        at.move()
        at.place.tick()
        await shows(session, at.place)
        await session.inputs.type("x")
        await until(lambda: at.place.typed.endswith("x"))


@pytest.mark.defect("D-07")
async def test_paused_guest() -> None:
    """A guest that was moved while it was paused is painted as it is."""
    async with hosts() as at, watching(at.source, migration="semi-seamless") as session:
        at.guest.pause()
        announcement = await at.source.announce_migration(at.destination)
        at.source.migrate_start()
        await announcement.linked()
        at.place.restore(at.guest.state())
        at.place.tick()
        at.place.set_incoming(False)
        at.source.migrate_end(True)
        assert await announcement.over() is Outcome.COMPLETED
        await shows(session, at.place)
        assert not at.place.running


@pytest.mark.defect("D-21")
async def test_slow_link_stays_slow() -> None:
    """What the source knew of the link is known to the target."""
    async with hosts() as at, watching(at.source) as session:
        [viewer] = at.source.viewers.values()
        viewer.bit_rate = 1e6
        announcement = await at.source.announce_migration(at.destination)
        at.source.migrate_start()
        assert [*(await announcement.linked()).values()] == [Mode.SEAMLESS]
        at.move()
        assert await announcement.over() is Outcome.COMPLETED
        await until(lambda: any(viewer.arrival is None for viewer in at.target.viewers.values()))
        [viewer] = at.target.viewers.values()
        assert viewer.low_bandwidth
        await shows(session, at.place)


async def test_what_is_held_down_is_let_go_at_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hosts() as at, watching(at.source) as session:
        at.source.departures.handed_over.connect(at.target.take_over)
        at.target.expect(TOKEN)
        announcement = await at.source.announce_migration(at.destination, TOKEN)
        at.source.migrate_start()
        await announcement.linked()
        [viewer] = at.source.viewers.values()
        inputs = viewer.channels[ChannelType.INPUTS, 0]
        session.inputs.key_down("ctrl")
        session.inputs.key_down("right")
        session.inputs.button_down("left")
        await until(lambda: inputs.held() == b"\x01\x00\x1d\xe0\x4d")
        keys: list[bytes] = []
        monkeypatch.setattr(at.place, "keys", keys.append)
        buttons: list[MouseButton] = []
        monkeypatch.setattr(at.place, "button_released", lambda button, _: buttons.append(button))
        at.move()
        assert await announcement.over() is Outcome.COMPLETED
        await until(lambda: any(viewer.arrival is None for viewer in at.target.viewers.values()))
        assert not keys
        for viewer in at.target.viewers.values():
            viewer.end("it vanishes")
        await until(lambda: not at.target.viewers)
        assert keys == [b"\xe0\xcd", b"\x9d"]
        assert buttons == [MouseButton.LEFT]
