"""Defects of deployed stacks, tried on our server (spec/migration.md 15): each docstring says what happens here."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from caraway.embedded import EmbeddedGuest
from caraway.errors import LinkError
from caraway.migration.destination import Destination
from caraway.migration.source_events import Outcome, ViewerLinked
from caraway.migration.target import State, TargetArrival
from caraway.server import Server, arrival
from caraway.server.departures import Departures
from caraway.server.server import MAX_ARRIVALS
from caraway.wire.capabilities import Capabilities, MainCapability
from caraway.wire.constants import ChannelType
from caraway.wire.messages.common import ClientMigrateData, Migrate, MigrateData, MigrateFlushMark, SetAck
from caraway.wire.messages.inputs import KeyModifiers
from caraway.wire.messages.main import (
    AgentStart,
    ClientMigrateEnd,
    Init,
    MigrateBegin,
    MigrateBeginSeamless,
    MigrateCancel,
    MigrateConnected,
    MigrateConnectedSeamless,
    MigrateDstDoSeamless,
    MigrateDstSeamlessAck,
    MigrateSwitchHost,
    MouseMode,
)
from caraway.wire.messages.migrate_data import (
    CharDevice,
    FilterResult,
    InputsMigrateData,
    MainMigrateData,
    unpack_migrate_data,
)
from caraway.wire.ticket import TicketKey
from support.agents import CLIENT, AgentStub
from support.raw_client import RawChannel, RawClient, raw_client
from support.serving import SeenGuest, serving, until

TARGET = Destination("127.0.0.1", 5999)
OTHER = Destination("127.0.0.1", 5998)
SEMI = Capabilities((MainCapability.SEMI_SEAMLESS_MIGRATE,))
SEAMLESS = Capabilities((MainCapability.SEMI_SEAMLESS_MIGRATE, MainCapability.SEAMLESS_MIGRATE))
FORWARD = FilterResult.FORWARD
NO_AGENT = MainMigrateData(
    1, CharDevice(1, False, 0, 0, 0, b""), False, 0, 0, 0, False, b"", 0, FORWARD, 0, FORWARD
).pack()
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


@asynccontextmanager
async def placed(**options: Any) -> AsyncIterator[tuple[Server, EmbeddedGuest]]:
    """A server where an embedded guest will run once it has come."""
    guest = EmbeddedGuest(640, 480)
    guest.pause()
    guest.set_incoming(True)
    async with serving(guest, **options) as server:
        yield server, guest


async def linked(server: Server, main: RawChannel, reply: MigrateConnected | MigrateConnectedSeamless) -> None:
    """The client tells that it has linked the target, and the server has heard it."""
    heard = asyncio.Event()
    server.departures.reported.connect(lambda report: heard.set() if isinstance(report, ViewerLinked) else None)
    main.send(reply)
    await heard.wait()


@pytest.mark.defect("D-02")
async def test_half_arrived_viewer_goes() -> None:
    """Nothing waits for the state of its channels: it is forgotten at once, and the next one arrives."""
    async with awaiting() as (server, client):
        main = await client.link(ChannelType.MAIN)
        main.send(MigrateDstDoSeamless(1))
        await main.expect(MigrateDstSeamlessAck)
        await client.link(ChannelType.DISPLAY)
        await client.aclose()
        await until(lambda: not server.viewers)
        await serves(server)


@pytest.mark.defect("D-03")
async def test_viewer_that_never_leaves() -> None:
    """The guest's move is over without it; it is cut off by its deadline."""
    server = Server(SeenGuest(), host="127.0.0.1", port=0)
    server.departures = Departures(server, leave_deadline=0.05)
    async with server, raw_client(server.port) as client:
        main = await client.main(channel=SEMI)
        await client.link(ChannelType.DISPLAY)
        announcement = await server.announce_migration(TARGET)
        await main.expect(MigrateBegin)
        await linked(server, main, MigrateConnected())
        server.migrate_end(True)
        assert await announcement.over() is Outcome.COMPLETED
        await until(lambda: not server.viewers)
        await main.ended()


@pytest.mark.defect("D-04")
async def test_agreement_dies_with_its_announcement() -> None:
    """A viewer that agreed to a migration that was called off is, in the next, one that has not answered."""
    async with serving() as server, raw_client(server.port) as client:
        main = await client.main(channel=SEMI)
        await server.announce_migration(TARGET)
        await main.expect(MigrateBegin)
        await linked(server, main, MigrateConnected())
        server.migrate_end(False)
        await main.expect(MigrateCancel)
        await server.announce_migration(TARGET)
        await main.expect(MigrateBegin)
        server.migrate_end(True)
        await main.expect(MigrateSwitchHost)


@pytest.mark.defect("D-06")
async def test_nothing_is_sent_before_the_guest_is_here() -> None:
    """MIGRATE_END that comes before the guest waits for it: no placeholder, no surfaces made again."""
    async with awaiting() as (server, client):
        main = await client.link(ChannelType.MAIN)
        display = await client.link(ChannelType.DISPLAY)
        main.send(ClientMigrateEnd())
        viewer = server.viewers[ID]
        await until(lambda: viewer.arrival is not None and viewer.arrival.state is State.ENDED)
        assert (await display.frame()).type == SetAck.id
        assert [channel.flow.sent_serial for channel in viewer.channels.values()] == [0, 1]
        server.guest.set_incoming(False)
        assert (await main.expect(Init)).session_id == ID


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


@pytest.mark.defect("D-10c")
@pytest.mark.parametrize("said", [4, 8, 8 + 10, 8 + 20, 8 + 60, 100])
async def test_agent_between_two_chunks(said: int) -> None:
    """The state is told wherever the agent's message was cut, and the target can read it."""
    guest = SeenGuest()
    agent = AgentStub(guest)
    async with serving(guest) as server, raw_client(server.port) as client:
        agent.open()
        main = await client.main(channel=SEAMLESS)
        main.send(AgentStart(10))
        await server.announce_migration(TARGET)
        await main.expect(MigrateBeginSeamless)
        await linked(server, main, MigrateConnectedSeamless())
        body = struct.pack("<IIQI", 1, 4, 0, 5000) + bytes(80)
        agent.port.write((struct.pack("<II", CLIENT, len(body)) + body)[:said])
        server.migrate_end(True)
        await main.expect(Migrate)
        main.send(MigrateFlushMark())
        state = unpack_migrate_data(ChannelType.MAIN, (await main.expect(MigrateData)).data)
        assert isinstance(state, MainMigrateData)


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


@pytest.mark.defect("D-16")
async def test_flood_of_arrivals(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many and no more; the guest starts, and those that do not go on end by their deadline."""
    monkeypatch.setattr(arrival, "TargetArrival", partial(TargetArrival, deadline_after_start=0.05))
    async with placed(max_connections_of_address=1000) as (server, guest), raw_client(server.port) as client:
        mains = [await client.link(ChannelType.MAIN, connection_id=ID + count) for count in range(MAX_ARRIVALS)]
        with pytest.raises(LinkError):
            await client.link(ChannelType.MAIN, connection_id=ID + MAX_ARRIVALS)
        guest.set_incoming(False)
        guest.resume()
        for main in mains:
            await main.ended()
        await until(lambda: not server.viewers)
        async with raw_client(server.port) as other:
            await other.main()


@pytest.mark.defect("D-20")
async def test_modes_are_told_again() -> None:
    """MOUSE_MODE and KEY_MODIFIERS are sent to a viewer whose channels go on with their state."""
    async with awaiting() as (server, client):
        main = await client.link(ChannelType.MAIN)
        main.send(MigrateDstDoSeamless(1))
        await main.expect(MigrateDstSeamlessAck)
        inputs = await client.link(ChannelType.INPUTS)
        main.send(ClientMigrateData(NO_AGENT))
        inputs.send(ClientMigrateData(InputsMigrateData(1, 0).pack()))
        server.guest.set_incoming(False)
        await main.expect(MouseMode)
        assert (await inputs.expect(KeyModifiers)).modifiers == server.guest.leds


@pytest.mark.defect("D-23")
async def test_dropped_arrival_holds_nothing() -> None:
    """Its channels end with its main channel."""
    async with awaiting() as (server, client):
        main = await client.link(ChannelType.MAIN)
        others = [await client.link(kind) for kind in (ChannelType.DISPLAY, ChannelType.INPUTS, ChannelType.CURSOR)]
        await main.aclose()
        for channel in others:
            await channel.ended()
        assert not server.viewers


@pytest.mark.defect("D-23")
@pytest.mark.parametrize("agrees", [False, True])
async def test_arrival_that_stays_half(agrees: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends by its deadline after the guest's start."""
    monkeypatch.setattr(arrival, "TargetArrival", partial(TargetArrival, deadline_after_start=0.05))
    async with placed() as (server, guest), raw_client(server.port) as client:
        client.session_id = ID
        main = await client.link(ChannelType.MAIN)
        if agrees:
            main.send(MigrateDstDoSeamless(1))
            await main.expect(MigrateDstSeamlessAck)
        display = await client.link(ChannelType.DISPLAY)
        guest.set_incoming(False)
        guest.resume()
        await main.ended()
        await display.ended()
        await until(lambda: not server.viewers)


@pytest.mark.defect("D-24")
async def test_links_in_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of tickets are made beside the loop, and a viewer's channels link together."""
    makers: set[int] = set()
    generate = TicketKey.generate

    def noted() -> TicketKey:
        makers.add(threading.get_ident())
        return generate()

    monkeypatch.setattr(TicketKey, "generate", noted)
    async with serving(password="secret") as server, raw_client(server.port, password="secret") as client:
        await client.main()
        kinds = ChannelType.DISPLAY, ChannelType.INPUTS, ChannelType.CURSOR
        assert [each.type for each in await asyncio.gather(*map(client.link, kinds))] == [*kinds]
        assert makers
        assert threading.get_ident() not in makers


@pytest.mark.defect("D-25")
async def test_viewer_that_comes_after_the_guest_has_left() -> None:
    """It is told MIGRATE_SWITCH_HOST."""
    async with serving() as server:
        await server.announce_migration(TARGET)
        server.migrate_end(True)
        async with raw_client(server.port) as client:
            main = await client.link(ChannelType.MAIN, connection_id=0)
            assert (await main.expect(MigrateSwitchHost)).port == TARGET.port
