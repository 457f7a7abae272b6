"""How many round trips linking to a migration's target takes (spec/migration.md 2, 9.2)."""

import asyncio
from typing import Any

import pytest

import caraway
from caraway.client.dial import Dialer
from caraway.endpoint import Endpoint
from caraway.errors import AuthError
from caraway.migration.reports import Linked
from caraway.wire.capabilities import Capabilities, MainCapability
from caraway.wire.constants import ChannelType
from caraway.wire.link import ServerLink
from caraway.wire.messages.main import MigrateBegin, MigrateConnected
from support.fake_server import FakeServer, fake_server
from support.relays import listening

SEMI_SEAMLESS = {ChannelType.MAIN: Capabilities([MainCapability.SEMI_SEAMLESS_MIGRATE])}
MAIN, DISPLAY, INPUTS = ChannelType.MAIN, ChannelType.DISPLAY, ChannelType.INPUTS


class Watched(FakeServer):
    """Notes each question that it answers."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.asked: list[tuple[ChannelType, str]] = []
        self.more = asyncio.Event()

    def _answer(self, link: ServerLink) -> None:
        assert link.request is not None
        self.asked.append((ChannelType(link.request.channel_type), type(link.question).__name__))
        self.more.set()
        super()._answer(link)


async def test_authentication_waits_where_the_rest_does_not() -> None:
    server = Watched([(DISPLAY, 0)])
    async with listening(server.serve) as port:
        gate = asyncio.get_running_loop().create_future()
        dialer = Dialer(Endpoint(host="127.0.0.1", port=port), "")
        dial = asyncio.create_task(dialer.dial(DISPLAY, 0, 1, Capabilities(), after=gate))
        await server.more.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert server.asked == [(DISPLAY, "LinkRequested")]
        gate.set_result(None)
        connection = await dial
        assert server.asked == [(DISPLAY, "LinkRequested"), (DISPLAY, "TicketReceived")]
        await connection.aclose()


async def test_server_that_refuses_meanwhile() -> None:
    server = Watched([(DISPLAY, 0)], password="another")
    async with listening(server.serve) as port:
        gate = asyncio.get_running_loop().create_future()
        dial = asyncio.create_task(
            Dialer(Endpoint(host="127.0.0.1", port=port), "").dial(DISPLAY, 0, 1, Capabilities(), after=gate)
        )
        gate.set_result(None)
        with pytest.raises(AuthError):
            await dial


async def test_other_channels_ask_for_their_keys_while_main_is_being_linked() -> None:
    """The target answers main only once it has heard of all channels, and lets the others in only after main."""
    target = Watched([(DISPLAY, 0), (INPUTS, 0)], on=SEMI_SEAMLESS)
    all_asked, heard = asyncio.Event(), set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(65536)
        heard.add(ChannelType(first[20]))
        if len(heard) == 3:
            all_asked.set()
        if first[20] == MAIN:
            await all_asked.wait()
        whole = asyncio.StreamReader()
        whole.feed_data(first)
        pump = asyncio.create_task(_pump(reader, whole))
        await target.serve(whole, writer)
        await pump

    async with (
        listening(serve) as port,
        fake_server("display", "inputs", on=SEMI_SEAMLESS) as source,
        caraway.connect(source.uri) as session,
    ):
        reports = session.migrations()
        linked = asyncio.create_task(_first(reports, Linked))
        await asyncio.sleep(0)
        main = await source.main()
        main.send(MigrateBegin(port, 0, "127.0.0.1", None))
        async with asyncio.timeout(10):
            await linked
            await main.expect(MigrateConnected)
    tickets = [channel for channel, question in target.asked if question == "TicketReceived"]
    assert tickets[0] is MAIN
    assert sorted(tickets) == [MAIN, DISPLAY, INPUTS]


async def _first(reports: Any, kind: type) -> None:
    async for report in reports:
        if isinstance(report, kind):
            return


async def _pump(reader: asyncio.StreamReader, into: asyncio.StreamReader) -> None:
    try:
        while data := await reader.read(65536):
            into.feed_data(data)
    finally:
        into.feed_eof()
