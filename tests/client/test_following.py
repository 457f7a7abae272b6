"""How a session links to a target, with servers that do as the test says."""

import asyncio

import pytest

import caraway
from caraway.client.display import DisplayChannel
from caraway.migration.reports import Announced, Failed
from caraway.wire.capabilities import Capabilities, MainCapability
from caraway.wire.constants import ChannelType
from caraway.wire.messages.base import Message
from caraway.wire.messages.display import Init
from caraway.wire.messages.main import (
    MigrateBegin,
    MigrateBeginSeamless,
    MigrateConnected,
    MigrateConnectedSeamless,
    MigrateConnectError,
    MigrateDstDoSeamless,
    MigrateDstSeamlessAck,
    MigrateDstSeamlessNack,
    MigrateSwitchHost,
)
from support.fake_server import FakeServer, fake_server
from support.leaks import nothing_left

BOTH_WAYS = {
    ChannelType.MAIN: Capabilities([MainCapability.SEMI_SEAMLESS_MIGRATE, MainCapability.SEAMLESS_MIGRATE]),
}


def port_of(server: FakeServer) -> int:
    return int(server.uri.rpartition(":")[2])


@pytest.mark.parametrize(
    ("answer", "reply"),
    [(MigrateDstSeamlessAck(), MigrateConnectedSeamless), (MigrateDstSeamlessNack(), MigrateConnected)],
)
async def test_other_channels_wait_until_the_target_knows_how_the_session_moves(
    answer: Message, reply: type[Message]
) -> None:
    """A deployed server takes each for what holds when its link comes, and ends if that does not fit."""
    with nothing_left():
        async with (
            fake_server("display", "inputs", on=BOTH_WAYS) as target,
            fake_server("display", "inputs", on=BOTH_WAYS) as source,
            caraway.connect(source.uri),
        ):
            main = await source.main()
            main.send(MigrateBeginSeamless(port_of(target), 0, "127.0.0.1", None, 1))
            target_main = await target.main()
            await target_main.expect(MigrateDstDoSeamless)
            await asyncio.sleep(0.1)
            assert list(target.linked) == [(ChannelType.MAIN, 0)]
            target_main.send(answer)
            await main.expect(reply)
            assert len(target.linked) == 3


async def test_reports_from_the_call_on() -> None:
    async with fake_server("inputs") as source, caraway.connect(source.uri, migration_targets=[]) as session:
        reports = session.migrations()
        main = await source.main()
        main.send(MigrateBegin(1, 0, "127.0.0.1", None))
        await main.expect(MigrateConnectError)
        assert isinstance(await anext(reports), Failed)
        main.send(MigrateBegin(1, 0, "127.0.0.1", None))
        await main.expect(MigrateConnectError)
        await session.aclose()
        assert [type(report) async for report in reports] == [Failed]
        assert [report async for report in session.migrations()] == []


async def test_display_that_only_the_next_host_has_begins_without_the_images_of_the_last() -> None:
    async with (
        fake_server("display:1") as target,
        fake_server("display") as source,
        caraway.connect(source.uri) as session,
    ):
        old = session.images
        (await source.main()).send(MigrateSwitchHost(port_of(target), 0, "127.0.0.1", None))
        await (await target.channel(ChannelType.DISPLAY, 1)).expect(Init)
        [_, display] = session.displays
        assert isinstance(display, DisplayChannel)
        assert display._images.shared is session.images is not old


async def test_session_closed_while_the_target_thinks() -> None:
    with nothing_left():
        async with (
            fake_server("display", "inputs", on=BOTH_WAYS) as target,
            fake_server("display", "inputs", on=BOTH_WAYS) as source,
            caraway.connect(source.uri) as session,
        ):
            reports = session.migrations()
            (await source.main()).send(MigrateBeginSeamless(port_of(target), 0, "127.0.0.1", None, 1))
            assert isinstance(await anext(reports), Announced)
            await (await target.main()).expect(MigrateDstDoSeamless)
            await session.aclose()
            with pytest.raises(EOFError):
                await (await target.main()).receive()
