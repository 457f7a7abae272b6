"""Videos over real sockets: our own client plays what the server streams, and has every pixel once it has ended."""

import asyncio

import numpy as np
import pytest

import caraway
from caraway.server import Server
from caraway.server.display import DisplayChannel
from caraway.server.viewer import Viewer
from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import Ack
from caraway.wire.messages.display import (
    DisplayCapability,
    Init,
    Mark,
    PreferredVideoCodecType,
    StreamActivateReport,
    StreamClip,
    StreamCreate,
    StreamData,
    StreamDestroy,
    StreamReport,
    VideoCodec,
)
from caraway.wire.messages.draw import CopyBits, DrawCopy
from caraway.wire.messages.main import MultiMediaTime
from caraway.wire.messages.shapes import Rect
from support.moving_pictures import TERMINAL, VIDEO, Cinema, screening
from support.raw_client import RawChannel, RawClient, raw_client
from support.serving import until

RECT = Rect(VIDEO.top, VIDEO.left, VIDEO.bottom, VIDEO.right)
CAPABILITIES = Capabilities([DisplayCapability.SIZED_STREAM, DisplayCapability.STREAM_REPORT])
DEADLINE = 20.0
NOT_DECODED = 0xFFFFFFFF


class Audience:
    """A display channel that acknowledges."""

    def __init__(self, channel: RawChannel) -> None:
        self.channel = channel
        self._received = 0

    async def next(self) -> Message:
        message = await self.channel.receive()
        self._received += 1
        if self._received % 20 == 0:
            self.channel.send(Ack())
        return message

    async def until(self, *kinds: type[Message]) -> list[Message]:
        """The messages up to the next of a kind."""
        seen: list[Message] = []
        async with asyncio.timeout(DEADLINE):
            while not seen or not isinstance(seen[-1], kinds):
                seen.append(await self.next())
        return seen


async def watch(client: RawClient, capabilities: Capabilities = CAPABILITIES) -> Audience:
    await client.main()
    return await look(client, capabilities)


async def look(client: RawClient, capabilities: Capabilities = CAPABILITIES) -> Audience:
    channel = await client.link(ChannelType.DISPLAY, channel=capabilities)
    channel.send(Init(1, 1 << 20, 1, 0))
    return Audience(channel)


def served(server: Server) -> Viewer:
    """The one viewer."""
    (viewer,) = server.viewers.values()
    return viewer


def meets(one: Rect, other: Rect) -> bool:
    return one.left < other.right and other.left < one.right and one.top < other.bottom and other.top < one.bottom


def drawn(messages: list[Message], within: Rect) -> list[Message]:
    """The drawings that touch a rectangle."""
    return [message for message in messages if isinstance(message, DrawCopy | CopyBits) and meets(message.box, within)]


async def test_a_video_is_streamed_and_the_terminal_is_not() -> None:
    cinema = Cinema()
    async with screening(cinema) as server, raw_client(server.port) as client:
        viewer = await watch(client)
        await viewer.until(Mark)
        async with cinema.playing():
            create = (await viewer.until(StreamCreate))[-1]
            assert (create.surface_id, create.stream_id, create.codec, create.dest) == (0, 49, 1, RECT)
            assert isinstance(await viewer.next(), StreamActivateReport)
            shown: list[Message] = []
            while sum(isinstance(message, StreamData) for message in shown) < 10:
                shown += await viewer.until(StreamData)
            assert drawn(shown, RECT) == []
            assert drawn(shown, Rect(TERMINAL.top, TERMINAL.left, TERMINAL.bottom, TERMINAL.right))
        ending = await viewer.until(StreamDestroy)
        assert ending[-2:] == [StreamClip(49, []), StreamDestroy(49)]
        again = await viewer.until(DrawCopy)
        assert drawn(again, RECT)


async def test_a_viewer_that_comes_later_gets_the_stream_after_its_first_picture() -> None:
    cinema = Cinema()
    async with screening(cinema) as server, raw_client(server.port) as first, raw_client(server.port) as second:
        viewer = await watch(first)
        async with cinema.playing():
            await viewer.until(StreamCreate)
            latecomer = await watch(second)
            seen = await latecomer.until(StreamCreate)
            assert any(isinstance(message, Mark) for message in seen)
            assert isinstance((await latecomer.until(StreamData))[-1], StreamData)


async def test_a_client_that_refuses_gets_pictures() -> None:
    cinema = Cinema()
    async with screening(cinema) as server, raw_client(server.port) as client:
        viewer = await watch(client)
        async with cinema.playing():
            create = (await viewer.until(StreamCreate))[-1]
            viewer.channel.send(StreamReport(create.stream_id, 0, 0, 0, 0, NOT_DECODED, 0, 0))
            await viewer.until(StreamDestroy)
            seen: list[Message] = []
            while len(drawn(seen, RECT)) < 40:
                seen += await viewer.until(DrawCopy)
            assert not any(isinstance(message, StreamCreate | StreamData) for message in seen)


async def test_a_preference_for_other_codecs_changes_nothing() -> None:
    cinema = Cinema()
    async with screening(cinema) as server, raw_client(server.port) as client:
        viewer = await watch(client)
        async with cinema.playing():
            await viewer.until(StreamCreate)
            viewer.channel.send(PreferredVideoCodecType([VideoCodec.VP9, VideoCodec.H264]))
            viewer.channel.send(PreferredVideoCodecType([]))
            for _ in range(5):
                seen = await viewer.until(StreamData)
                assert not any(isinstance(message, StreamDestroy) for message in seen)


@pytest.mark.parametrize(("delay", "number"), [(-(1 << 31), NOT_DECODED), (-1, 1), ((1 << 31) - 1, 0)])
async def test_reports_that_lie(delay: int, number: int) -> None:
    """Whatever a client says of its frames, and of streams that there are not: it is its own video that suffers."""
    cinema = Cinema()
    async with screening(cinema) as server, raw_client(server.port) as liar, raw_client(server.port) as honest:
        lied_to, viewer = await watch(liar), await watch(honest)
        async with cinema.playing():
            create = (await lied_to.until(StreamCreate))[-1]
            await viewer.until(StreamData)
            for stream in create.stream_id, 0, 63, NOT_DECODED:
                for begin, end in ((0, 0), (NOT_DECODED, 0), (0, NOT_DECODED)):
                    report = StreamReport(stream, number, begin, end, number, number, delay, number)
                    lied_to.channel.send(report, PreferredVideoCodecType([VideoCodec.VP8] * 255), report)
            for _ in range(10):
                await viewer.until(StreamData)
            assert (await lied_to.until(StreamData, StreamDestroy, DrawCopy))[-1]


async def test_another_size_ends_the_stream() -> None:
    cinema = Cinema()
    async with screening(cinema) as server, raw_client(server.port) as client:
        viewer = await watch(client)
        async with cinema.playing():
            await viewer.until(StreamData)
        cinema.guest.show(320, 200)
        seen = await viewer.until(Mark)
        assert StreamDestroy(49) in seen
        assert not any(isinstance(message, StreamData) for message in seen[seen.index(StreamDestroy(49)) :])


async def test_off_streams_nothing() -> None:
    cinema = Cinema()
    async with screening(cinema, "off") as server, raw_client(server.port) as client:
        viewer = await watch(client)
        async with cinema.playing():
            seen: list[Message] = []
            while len(drawn(seen, RECT)) < 40:
                seen += await viewer.until(DrawCopy)
        assert not any(isinstance(message, StreamCreate) for message in seen)


async def test_a_video_is_found_though_the_viewer_takes_nothing() -> None:
    cinema = Cinema()
    async with screening(cinema) as server, raw_client(server.port) as client:
        viewer = await watch(client)
        await viewer.until(Mark)
        (channel,) = (channel for key, channel in served(server).channels.items() if key[0] == ChannelType.DISPLAY)
        assert isinstance(channel, DisplayChannel)
        async with cinema.playing():
            await until(lambda: not channel.flow.room and bool(channel.capture.finder.videos))
            await viewer.until(StreamCreate)
            await viewer.until(StreamData)


async def test_a_client_on_a_slow_link_shows_frames_later() -> None:
    cinema = Cinema()
    async with screening(cinema) as server, raw_client(server.port) as client:
        main = await client.main()
        watched = served(server)
        watched.bit_rate = 50_000.0
        viewer = await look(client)
        async with cinema.playing():
            await viewer.until(StreamData)
            told = await main.expect(MultiMediaTime)
        behind = (watched.media_time() - told.time) & 0xFFFFFFFF
        assert 400 < watched.latency <= behind


async def test_our_client_plays_it_and_has_every_pixel_in_the_end() -> None:
    cinema = Cinema()
    async with screening(cinema) as server, raw_client(server.port) as client:
        address = f"spice://127.0.0.1:{server.port}"
        witness = await watch(client)
        async with caraway.connect(address, channels=["display"]) as session:
            await session.display.ready()
            async with cinema.playing():
                await witness.until(StreamCreate)
                for _ in range(40):
                    await witness.until(StreamData)
                shown = np.frombuffer(session.display.screenshot().rgb, np.uint8)
                assert 30 < cinema.psnr(shown.reshape(cinema.rgb.shape)) < 60
            async with asyncio.timeout(DEADLINE):
                async for picture in session.display.frames():
                    shown = np.frombuffer(picture.rgb, np.uint8).reshape(cinema.rgb.shape)
                    if np.array_equal(shown, cinema.rgb):
                        break
