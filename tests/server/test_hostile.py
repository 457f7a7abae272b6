"""Messages that no honest client sends: they cost the connection that they came on, and nobody else anything."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caraway.errors import LinkError
from caraway.server.access import Throttle
from caraway.wire.capabilities import Capabilities, CommonCapability
from caraway.wire.constants import ChannelType, Sender
from caraway.wire.link import LinkRefusedError
from caraway.wire.messages import base, common
from caraway.wire.messages.agent import AGENT_MESSAGES, AGENT_PROTOCOL, AgentHeader
from caraway.wire.messages.display import Init as DisplayInit
from caraway.wire.messages.main import AgentStart, ClientAgentData, Init
from support.hostile import CHANNELS, World, finish
from support.raw_client import RawChannel
from support.serving import until
from wire.strategies import structs

FULL_HEADERS = Capabilities([CommonCapability.AUTH_SELECTION])
AGREED = 0xFFFFFFFF

some = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as made:
        yield made


def kinds(channel: ChannelType) -> list[type[base.Message]]:
    return list(base.messages(channel, Sender.CLIENT).values())


@st.composite
def damaged(draw: st.DrawFn, body: bytes) -> bytes:
    """A body cut short, with more behind it, or with other bytes in it."""
    data = bytearray(body)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=6))
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)


@st.composite
def blows(draw: st.DrawFn, channel: ChannelType) -> list[tuple[int, bytes, int | None]]:
    """Messages: number, body, and what the header says of its size."""
    made = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(kinds(channel)))
        body = draw(structs(kind)).pack()
        if draw(st.booleans()):
            body = draw(damaged(body))
        number = draw(st.just(kind.id) | st.integers(0, 0xFFFF)) if draw(st.integers(0, 9)) == 0 else kind.id
        size = draw(st.none() | st.integers(0, 0xFFFFFFFF)) if draw(st.integers(0, 9)) == 0 else None
        made.append((number, body, size))
    return made


@pytest.mark.parametrize("kind", CHANNELS, ids=lambda kind: kind.name.lower())
@some
@given(data=st.data())
def test_messages_odd_damaged_and_out_of_order(world: World, kind: ChannelType, data: st.DataObject) -> None:
    sequence = data.draw(blows(kind))
    begins = kind is ChannelType.DISPLAY and data.draw(st.booleans())
    headers = {} if data.draw(st.booleans()) or kind is ChannelType.MAIN else {"common": FULL_HEADERS}

    def strike(channel: RawChannel) -> None:
        if begins:
            channel.send(DisplayInit(0, 1 << 20, 0, 1 << 16))
        for number, body, size in sequence:
            channel.send_raw(number, body, size=size)

    world.run(lambda w: w.attack(kind, strike, **headers))


@some
@given(data=st.data())
def test_agent_messages_odd_and_damaged(world: World, data: st.DataObject) -> None:
    bodies = []
    for _ in range(data.draw(st.integers(1, 8))):
        kind = data.draw(st.sampled_from(list(AGENT_MESSAGES.values())))
        agreed = data.draw(st.integers(0, AGREED))
        inner = data.draw(structs(kind, agreed)).pack(agreed)
        size = data.draw(st.just(len(inner)) | st.integers(0, 0xFFFFFFFF))
        body = AgentHeader(AGENT_PROTOCOL, kind.number, 0, size).pack() + inner
        bodies.append(data.draw(damaged(body)) if data.draw(st.integers(0, 3)) == 0 else body)

    def strike(main: RawChannel) -> None:
        main.send(AgentStart(0xFFFFFFFF))
        for body in bodies:
            main.send_raw(ClientAgentData.id, body)

    world.run(lambda w: w.attack(ChannelType.MAIN, strike))


@some
@given(body=st.binary(max_size=300), kind=st.sampled_from(CHANNELS))
def test_random_bytes_behind_the_link(world: World, body: bytes, kind: ChannelType) -> None:
    world.run(lambda w: w.attack(kind, lambda channel: channel.writer.write(body)))


EVERY_MESSAGE = [(channel, kind) for channel in CHANNELS for kind in kinds(channel)]


@pytest.mark.parametrize(
    ("channel", "kind"), EVERY_MESSAGE, ids=lambda each: getattr(each, "name", getattr(each, "__name__", "")).lower()
)
def test_a_message_that_is_empty_or_all_ones(world: World, channel: ChannelType, kind: type[base.Message]) -> None:
    async def strike(w: World) -> None:
        for body in (b"", b"\xff" * 7, b"\xff" * 64, bytes(64), b"\xff" * 1024):
            await w.attack(channel, lambda each, body=body: each.send_raw(kind.id, body))  # type: ignore[misc]

    world.run(strike)


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize("size", [1 << 21, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_header_that_announces_too_much_ends_the_channel_at_once(
    world: World, channel: ChannelType, size: int
) -> None:
    async def strike(each: RawChannel) -> None:
        each.send_raw(kinds(channel)[-1].id, b"", size=size)
        await each.ended()

    world.run(lambda w: w.attack(channel, strike))


MIGRATION = [
    (ChannelType.MAIN, 102, b""),
    (ChannelType.MAIN, 103, b""),
    (ChannelType.MAIN, 109, b""),
    (ChannelType.MAIN, 110, bytes(4)),
    (ChannelType.MAIN, 111, b""),
    *((channel, number, body) for channel in CHANNELS for number, body in ((4, b""), (5, b""), (5, b"\xff" * 200))),
]
"""MIGRATE_CONNECTED, CONNECT_ERROR, MIGRATE_END, DO_SEAMLESS, CONNECTED_SEAMLESS; FLUSH_MARK and MIGRATE_DATA."""


@pytest.mark.parametrize(("channel", "number", "body"), MIGRATION)
def test_migration_that_nobody_has_begun(world: World, channel: ChannelType, number: int, body: bytes) -> None:
    async def strike(each: RawChannel) -> None:
        each.send_raw(number, body)
        await each.ended()

    world.run(lambda w: w.attack(channel, strike))


@pytest.mark.parametrize("second", [DisplayInit(0, 0, 0, 0), 107, 106])
def test_display_messages_at_the_wrong_time(world: World, second: Any) -> None:
    async def strike(display: RawChannel) -> None:
        display.send(DisplayInit(0, 1 << 20, 0, 1 << 16))
        if isinstance(second, int):
            display.send_raw(second, b"")
        else:
            display.send(second)
        await display.ended()

    world.run(lambda w: w.attack(ChannelType.DISPLAY, strike))


ABSURD = [-(1 << 63), -1, 0, 1, 1 << 62, (1 << 63) - 1]


@pytest.mark.parametrize("cache", ABSURD)
@pytest.mark.parametrize("window", [-(1 << 31), -1, 0, 1, (1 << 31) - 1])
def test_absurd_caches(world: World, cache: int, window: int) -> None:
    async def strike(display: RawChannel) -> None:
        display.send(DisplayInit(255, cache, 255, window))
        while (await display.frame()).type not in (102, 304):
            pass

    world.run(lambda w: w.attack(ChannelType.DISPLAY, strike))


def test_preferences_of_any_number(world: World) -> None:
    def strike(display: RawChannel) -> None:
        display.send(DisplayInit(0, 1 << 20, 0, 1 << 16))
        for number in range(256):
            display.send_raw(103, bytes([number]))
            display.send_raw(105, bytes([1, number]))
        display.send_raw(105, bytes([255]) + bytes(range(255)))
        display.send_raw(105, b"\0")

    world.run(lambda w: w.attack(ChannelType.DISPLAY, strike))


def test_acknowledgements_that_were_not_asked_for(world: World) -> None:
    async def strike(w: World) -> None:
        for kind in CHANNELS:
            await w.attack(kind, _acknowledges)

    world.run(strike)


async def _acknowledges(channel: RawChannel) -> None:
    if channel.type is ChannelType.DISPLAY:
        channel.send(DisplayInit(0, 1 << 20, 0, 1 << 16))
    for generation in (0, 1, 2, 0xFFFFFFFF):
        channel.send(common.AckSync(generation), *[common.Ack()] * 100)


def test_pongs_with_lies(world: World) -> None:
    def strike(main: RawChannel) -> None:
        for id in (0, 1, 2, 3, 4, 0xFFFFFFFF):
            for timestamp in (0, 1, 1 << 63, (1 << 64) - 1):
                main.send(common.Pong(id, timestamp))

    world.run(lambda w: w.attack(ChannelType.MAIN, strike))


def test_more_agent_data_than_there_are_tokens(world: World) -> None:
    async def strike(main: RawChannel) -> None:
        main.send(AgentStart(10))
        header = AgentHeader(AGENT_PROTOCOL, 12, 0, 1 << 20).pack()
        main.send_raw(ClientAgentData.id, header)
        world.guest.stub.port.pause()
        for _ in range(100):
            main.send_raw(ClientAgentData.id, bytes(2048))
        await main.ended()
        world.guest.stub.port.resume()

    world.run(lambda w: w.attack(ChannelType.MAIN, strike))


@pytest.mark.parametrize("size", [0, 1, 19, 2049, 20000])
def test_agent_data_of_a_wrong_size(world: World, size: int) -> None:
    async def strike(main: RawChannel) -> None:
        main.send(AgentStart(10))
        main.send_raw(ClientAgentData.id, struct.pack("<IIQI", 1, 4, 0, 4096)[:size].ljust(size, b"\0"))
        await main.ended()

    world.run(lambda w: w.attack(ChannelType.MAIN, strike))


def test_a_hundred_thousand_small_messages(world: World) -> None:
    async def strike(inputs: RawChannel) -> None:
        motion = struct.pack("<HI", 111, 12) + struct.pack("<iiI", 1, -1, 0)
        for _ in range(100):
            inputs.writer.write(motion * 1000)
            await inputs.writer.drain()
            await world.check()

    world.run(lambda w: w.attack(ChannelType.INPUTS, strike))


def test_sessions_of_others_cannot_be_guessed_or_ended(world: World) -> None:
    async def strike(w: World) -> None:
        honest = next(iter(w.server.viewers))
        async with w.client() as client:
            main = await client.main()
            for id in (0, 1, honest ^ 1, 0xFFFFFFFF):
                for kind in CHANNELS[1:]:
                    with pytest.raises(LinkError):
                        await client.link(kind, connection_id=id)
                w.server.throttle = Throttle()
            for id in (honest, honest ^ 1, client.session_id):
                with pytest.raises(LinkError):
                    await client.link(ChannelType.MAIN, connection_id=id)
            assert honest in w.server.viewers
            await finish(main)

    world.run(strike)


def test_a_channel_linked_again_and_again(world: World) -> None:
    async def strike(w: World) -> None:
        async with w.client() as client:
            main = await client.main()
            for kind in (ChannelType.DISPLAY, ChannelType.INPUTS, ChannelType.CURSOR, ChannelType.PLAYBACK):
                for _ in range(5):
                    channel = await client.link(kind)
                    with pytest.raises(LinkRefusedError):
                        await client.link(kind)
                    channel.writer.transport.abort()
                    viewer = w.server.viewers[client.session_id]
                    await until(lambda kind=kind, viewer=viewer: (kind, 0) not in viewer.channels)  # type: ignore[misc]
            await finish(main)

    world.run(strike)


def test_main_ends_in_the_middle_of_the_links_of_others(world: World) -> None:
    async def strike(w: World) -> None:
        for _ in range(20):
            async with w.client() as client:
                main = await client.main()
                links = [asyncio.create_task(client.link(kind)) for kind in CHANNELS[1:]]
                await asyncio.sleep(0)
                main.writer.transport.abort()
                await asyncio.gather(*links, return_exceptions=True)

    world.run(strike)


def test_the_server_says_who_it_is_to_an_honest_peer(world: World) -> None:
    """These attacks would prove little if no client came through."""

    async def visit(w: World) -> None:
        async with w.client() as client:
            main = await client.link(ChannelType.MAIN, connection_id=0)
            assert (await main.expect(Init)).agent_connected
            await finish(main)

    world.run(visit)
