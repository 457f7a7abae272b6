"""Defects of deployed stacks, tried on our server (spec/migration.md 15): each docstring says what happens here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from caraway.errors import LinkError
from caraway.migration.destination import Destination
from caraway.migration.source_events import Outcome, ViewerLinked
from caraway.server import Server
from caraway.wire.capabilities import Capabilities, MainCapability
from caraway.wire.constants import ChannelType
from caraway.wire.messages.common import ClientMigrateData, MigrateFlushMark
from caraway.wire.messages.main import (
    ClientMigrateEnd,
    Init,
    MigrateBegin,
    MigrateCancel,
    MigrateConnected,
    MigrateDstDoSeamless,
    MigrateDstSeamlessAck,
    MigrateSwitchHost,
)
from support.raw_client import RawClient, raw_client
from support.serving import SeenGuest, serving

TARGET = Destination("127.0.0.1", 5999)
OTHER = Destination("127.0.0.1", 5998)
SEMI = Capabilities((MainCapability.SEMI_SEAMLESS_MIGRATE,))
ID = 77


@asynccontextmanager
async def awaiting() -> AsyncIterator[tuple[Server, RawClient]]:
    """A server whose guest is about to come, and a client."""
    guest = SeenGuest()
    guest.set_incoming(True)
    async with serving(guest) as server, raw_client(server.port) as client:
        client.session_id = ID
        yield server, client


async def serves(server: Server) -> None:
    """A new arrival is still let begin, once the guest is here."""
    async with raw_client(server.port) as client:
        main = await client.link(ChannelType.MAIN, connection_id=ID + 1)
        main.send(ClientMigrateEnd())
        server.guest.set_incoming(False)
        assert (await main.expect(Init)).session_id == ID + 1


@pytest.mark.defect("D-04")
async def test_agreement_dies_with_its_announcement() -> None:
    """A viewer that agreed to a migration that was called off is, in the next, one that has not answered."""
    async with serving() as server, raw_client(server.port) as client:
        main = await client.main(channel=SEMI)
        await server.announce_migration(TARGET)
        await main.expect(MigrateBegin)
        linked = asyncio.Event()
        server.departures.reported.connect(lambda report: linked.set() if isinstance(report, ViewerLinked) else None)
        main.send(MigrateConnected())
        await linked.wait()
        server.migrate_end(False)
        await main.expect(MigrateCancel)
        await server.announce_migration(TARGET)
        await main.expect(MigrateBegin)
        server.migrate_end(True)
        await main.expect(MigrateSwitchHost)


@pytest.mark.defect("D-09")
async def test_second_announcement_waits() -> None:
    """The second announcement is told when the first one's answer has come and was called off."""
    async with serving() as server, raw_client(server.port) as client:
        main = await client.main(channel=SEMI)
        first = await server.announce_migration(TARGET)
        assert (await main.expect(MigrateBegin)).port == TARGET.port
        await server.announce_migration(OTHER)
        main.send(MigrateConnected())
        await main.expect(MigrateCancel)
        assert (await main.expect(MigrateBegin)).port == OTHER.port
        assert await first.over() is Outcome.REPLACED


@pytest.mark.defect("D-10b")
@pytest.mark.parametrize("message", [MigrateDstDoSeamless(1), ClientMigrateEnd(), MigrateFlushMark()])
async def test_migration_on_an_ordinary_connection(message: MigrateDstDoSeamless) -> None:
    """The connection that sent it is closed, and the next viewer is served."""
    async with serving() as server:
        async with raw_client(server.port) as client:
            main = await client.main()
            main.send(message)
            await main.ended()
        async with raw_client(server.port) as client:
            await client.main()


@pytest.mark.defect("D-10b")
@pytest.mark.parametrize("body", [b"", b"XXXX" + bytes(61), b"MNMD" + b"\2\0\0\0" + bytes(57)])
async def test_main_state_that_is_none(body: bytes) -> None:
    """Wrong magic, newer version or short: the connection is closed, and others still arrive."""
    async with awaiting() as (server, client):
        main = await client.link(ChannelType.MAIN)
        main.send(MigrateDstDoSeamless(1))
        await main.expect(MigrateDstSeamlessAck)
        main.send(ClientMigrateData(body))
        await main.ended()
        await serves(server)


@pytest.mark.defect("D-10b")
@pytest.mark.parametrize("body", [b"", b"DCMD\1\0\0\0", b"DCMD\1\0\0\0" + b"\xff" * 80])
async def test_display_state_that_is_none(body: bytes) -> None:
    """Too short, or with wild pointers: the display's connection is closed, and others still arrive."""
    async with awaiting() as (server, client):
        main = await client.link(ChannelType.MAIN)
        main.send(MigrateDstDoSeamless(1))
        await main.expect(MigrateDstSeamlessAck)
        display = await client.link(ChannelType.DISPLAY)
        display.send(ClientMigrateData(body))
        await display.ended()
        await serves(server)


@pytest.mark.defect("D-10b")
async def test_end_of_another_kind_of_arrival() -> None:
    """MIGRATE_END after seamless was agreed to closes the connection; a semi-seamless arrival after it settles."""
    async with awaiting() as (server, client):
        main = await client.link(ChannelType.MAIN)
        main.send(MigrateDstDoSeamless(1), ClientMigrateEnd())
        await main.ended()
        await serves(server)


@pytest.mark.defect("D-13")
async def test_cancelled_without_viewers() -> None:
    """Without viewers too, a migration that was called off is reported as called off."""
    async with serving() as server:
        announcement = await server.announce_migration(TARGET)
        server.migrate_end(False)
        assert await announcement.over() is Outcome.CANCELLED


@pytest.mark.defect("D-15")
async def test_channel_that_the_target_lacks() -> None:
    """Its link is answered with an error, and the arrival settles without it."""
    async with awaiting() as (server, client):
        main = await client.link(ChannelType.MAIN)
        with pytest.raises(LinkError):
            await client.link(ChannelType.SMARTCARD)
        main.send(ClientMigrateEnd())
        server.guest.set_incoming(False)
        assert (await main.expect(Init)).session_id == ID


@pytest.mark.defect("D-16")
async def test_id_that_nobody_expects() -> None:
    """Where no guest is awaited, a main link with an id is refused, and displaces nobody."""
    async with serving() as server, raw_client(server.port) as client, raw_client(server.port) as stranger:
        await client.main()
        with pytest.raises(LinkError):
            await stranger.link(ChannelType.MAIN, connection_id=ID)
        assert [*server.viewers] == [client.session_id]


@pytest.mark.defect("D-25")
async def test_viewer_that_comes_after_the_guest_has_left() -> None:
    """It is told MIGRATE_SWITCH_HOST."""
    async with serving() as server:
        await server.announce_migration(TARGET)
        server.migrate_end(True)
        async with raw_client(server.port) as client:
            main = await client.link(ChannelType.MAIN, connection_id=0)
            assert (await main.expect(MigrateSwitchHost)).port == TARGET.port
