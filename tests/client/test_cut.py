"""The server's end at any byte of a short session: a typed error within the deadline, and nothing left."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from caraway.endpoint import Endpoint, Proxy
from caraway.errors import LinkError, TlsError
from caraway.wire.constants import ChannelType
from caraway.wire.messages import cursor, display, draw, images, inputs, main
from caraway.wire.messages.common import Notify, Ping, SetAck, Severity, Visibility
from caraway.wire.messages.cursor import CursorFlags, CursorShape, CursorType
from caraway.wire.messages.images import BitmapFlags, BitmapFormat
from caraway.wire.messages.shapes import Point, Point16, Rect
from support.certificates import Authority
from support.leaks import nothing_left
from support.playing import Player, Recorded, each, playing, scripted, short_session
from support.relays import Relay, listening

MAIN, DISPLAY, INPUTS, CURSOR = CHANNELS = (
    ChannelType.MAIN,
    ChannelType.DISPLAY,
    ChannelType.INPUTS,
    ChannelType.CURSOR,
)
STRIDE = 23
"""Bytes between the cuts of the longer ways."""

WIDTH, HEIGHT = 12, 5


def picture() -> list[Any]:
    """A surface, a raw image on a part of it, a filled part, a copied one."""
    no_mask = images.QMask(images.MaskFlags(0), Point(0, 0), None)
    whole, part = Rect(0, 0, HEIGHT, WIDTH), Rect(1, 2, 3, 6)
    pixels = bytes(range(4 * 4 * 2))
    raw = images.BitmapImage(BitmapFormat.BIT32, BitmapFlags.TOP_DOWN, 4, 2, 16, None, images.Palette(0, []), pixels)
    image = images.Image(1, images.ImageFlags(0), 4, 2, raw)
    how = (draw.Rop.OP_PUT, draw.ScaleMode.INTERPOLATE, no_mask)
    return [
        display.InvalAllPalettes(),
        display.SurfaceCreate(0, WIDTH, HEIGHT, display.SurfaceFormat.XRGB32, display.SurfaceFlags(1)),
        draw.DrawFill(0, whole, None, images.SolidBrush(0x336699), draw.Rop.OP_PUT, no_mask),
        display.Mark(),
        draw.DrawCopy(0, part, None, image, Rect(0, 0, 2, 4), *how),
        draw.CopyBits(0, Rect(3, 0, 5, 4), None, Point(2, 1)),
        display.MonitorsConfig(1, [display.Head(0, 0, WIDTH, HEIGHT, 0, 0, 0)]),
    ]


def pointer() -> list[Any]:
    """A shape that is cached, and taken from the cache."""
    shape = CursorShape(7, CursorType.ALPHA, 4, 4, 1, 1, bytes(64))
    mono = CursorShape(8, CursorType.MONO, 9, 4, 0, 0, bytes(16))
    known = CursorShape(7, CursorType.ALPHA, 4, 4, 1, 1, b"")
    return [
        cursor.InvalAll(),
        cursor.Init(Point16(3, 4), 0, 0, True, cursor.Cursor(CursorFlags.CACHE_ME, shape)),
        cursor.Set(Point16(3, 4), True, cursor.Cursor(CursorFlags(0), mono)),
        cursor.Hide(),
        cursor.Set(Point16(5, 6), True, cursor.Cursor(CursorFlags.FROM_CACHE, known)),
        cursor.Move(Point16(7, 8)),
        cursor.InvalOne(7),
        cursor.Reset(),
    ]


@pytest.fixture(scope="module")
def session() -> dict[ChannelType, Recorded]:
    """A short session."""
    ack, listed = SetAck(1, 4), [main.ChannelEntry(channel, 0) for channel in CHANNELS[1:]]
    modes = main.MouseModes
    return {
        MAIN: scripted(
            MAIN,
            ack,
            Ping(1, 0, bytes(30)),
            main.Init(1, 1, modes(3), modes.SERVER, False, 0, 0, 0),
            main.Name("short"),
            main.Uuid(bytes(16)),
            main.ChannelsList(listed),
            main.MouseMode(modes(3), modes.CLIENT),
            Notify(0, Severity.INFO, Visibility.LOW, 0, "hello"),
        ),
        DISPLAY: scripted(DISPLAY, ack, *picture(), Ping(2, 0, b"")),
        INPUTS: scripted(INPUTS, ack, inputs.Init(inputs.KeyboardModifiers(0)), inputs.MouseMotionAck()),
        CURSOR: scripted(CURSOR, ack, *pointer(), Ping(3, 0, b"")),
    }


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name.lower())
async def test_server_ends_at_any_byte(session: dict[ChannelType, Recorded], channel: ChannelType, how: Any) -> None:
    async def run(cut: int) -> None:
        async with playing(session, {channel: cut}, how) as uri:
            with pytest.raises(LinkError, match=f"^{channel.name.lower()} 0"):
                await short_session(uri, channel, to_the_end=True)

    with nothing_left():
        await each(range(len(session[channel].data) + 1), run)


class Way:
    """A way to a server, with a relay first that cuts."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.authority = Authority()
        issued = self.authority.issue(folder / "server", [("CN", "localhost")], dns=["localhost"])
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(issued / "server-cert.pem", issued / "server-key.pem")
        self._folder = folder
        self._count = 0

    @asynccontextmanager
    async def to(self, player: Player) -> AsyncIterator[tuple[Relay, Endpoint]]:
        player.is_proxied = self.name == "proxy"
        self._count += 1
        path = self._folder / str(self._count) if self.name == "unix" else None
        async with AsyncExitStack() as stack:
            tls = self.context if self.name == "tls" else None
            relay = Relay("127.0.0.1", await stack.enter_async_context(listening(player.serve, tls=tls)))
            port = await stack.enter_async_context(listening(relay.serve, path=path))
            if path is not None:
                yield relay, Endpoint(unix_path=str(path))
            elif tls is not None:
                yield relay, Endpoint(host="localhost", tls_port=port, ca=self.authority.pem)
            else:
                yield relay, Endpoint(host="far", port=5, proxy=Proxy(host="127.0.0.1", port=port))


@pytest.fixture(params=["tls", "unix", "proxy"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    return Way(request.param, tmp_path)


@pytest.mark.parametrize("by_reset", [False, True], ids=["close", "reset"])
async def test_other_ways_end(session: dict[ChannelType, Recorded], way: Way, by_reset: bool) -> None:
    """Main is connected first, then the other one."""

    async def whole(channel: ChannelType) -> int:
        async with way.to(Player(session)) as (relay, endpoint):
            await short_session(endpoint, channel)
            return len(relay.connections[-1].to_client)

    for channel in CHANNELS:

        async def run(cut: int, channel: ChannelType = channel) -> None:
            async with way.to(Player(session)) as (relay, endpoint):
                relay.cut_by_reset = by_reset
                number = 0 if channel is MAIN else 1
                relay.cut = lambda piped: cut if relay.connections.index(piped) == number else None
                with pytest.raises((LinkError, TlsError), match=f"^{channel.name.lower()} 0|^proxy http"):
                    await short_session(endpoint, channel, to_the_end=True)

        with nothing_left():
            # A signature's length differs by some bytes.
            await each(range(0, await whole(channel) - 64, STRIDE), run)
