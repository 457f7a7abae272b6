"""Every way in which a real server compresses images and video: what is shown is what the guest's screen holds."""

import asyncio
import math
from collections import Counter
from typing import Any

import pytest

import caraway
from caraway.client import Session
from caraway.client.display import DisplayChannel
from caraway.client.images import ImageDecoder
from caraway.client.player import Player
from caraway.qemu.process import Qemu
from caraway.wire.messages.display import StreamCreate, StreamDestroy
from caraway.wire.messages.images import Image
from support.moves import move
from support.screens import becomes_same_picture, rgb

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODES = {
    "off": {"BitmapImage"},
    "auto_glz": {"QuicImage", "GlzImage"},
    "auto_lz": {"QuicImage", "LzImage"},
    "quic": {"QuicImage"},
    "glz": {"GlzImage"},
    "lz": {"LzImage"},
    "lz4": {"Lz4Image"},
}
"""Values of `image-compression`, and types of images that each is to bring."""

DRAWINGS = ("photo 1", "rect 100 50 333 77 ff8000", "say hello", "scroll 30 5")
GOOD = 35.0
"""Decibels of a JPEG of quality 85, at least."""


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many images of each type came."""
    seen: Counter[str] = Counter()
    decode = ImageDecoder.decode

    async def counted(self: ImageDecoder, image: Image, *rest: Any, **options: Any) -> Any:
        seen[type(image.payload).__name__] += 1
        return await decode(self, image, *rest, **options)

    monkeypatch.setattr(ImageDecoder, "decode", counted)
    return seen


async def draw(vm: Qemu, *commands: str) -> None:
    for command in commands:
        await vm.ask(command, "@ok")
        if command.split()[0] in ("scroll", "boxes", "video"):
            await vm.wait_for("@done")


async def is_nearly_the_same(session: Session, vm: Qemu) -> None:
    """The picture is the guest's but for what a lossy codec leaves out."""
    await session.display.wait_stable(0.5)
    picture = session.display.screenshot()
    truth = rgb(await vm.screendump("ppm"), (picture.width, picture.height))
    squares = sum((a - b) ** 2 for a, b in zip(picture.rgb, truth, strict=True))
    assert squares
    assert 10 * math.log10(255**2 * len(truth) / squares) > GOOD


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "lz4"])
async def test_image_compression(small_guests: Any, mode: str, kinds: Counter[str]) -> None:
    """QEMU 7.2 takes no `lz4` here."""
    async with small_guests.another("qxl", **{"image-compression": mode}) as vm:
        async with caraway.connect(vm.spice_uri(), channels=["display"]) as session:
            await session.display.ready()
            for command in DRAWINGS:
                await draw(vm, command)
                await becomes_same_picture(session, vm)
        assert MODES[mode] <= set(kinds), kinds


@pytest.mark.parametrize("mode", MODES)
async def test_compression_that_the_client_prefers(small_machines: Any, mode: str, kinds: Counter[str]) -> None:
    vm = small_machines["qxl", "default"]
    async with caraway.connect(vm.spice_uri(), channels=["display"]) as session:
        session.display.prefer(mode)
        await session.display.ready()
        await session.display.wait_stable(0.2)
        kinds.clear()
        for command in "photo 2", "photo 3", "say so", "scroll 10 5":
            await draw(vm, command)
            await becomes_same_picture(session, vm)
    assert MODES[mode] & set(kinds), kinds


async def test_zlib_over_glz(small_guests: Any, kinds: Counter[str]) -> None:
    options = {"image-compression": "glz", "zlib-glz-wan-compression": "always"}
    async with (
        small_guests.another("qxl", **options) as vm,
        caraway.connect(vm.spice_uri(), channels=["display"]) as session,
    ):
        await session.display.ready()
        for command in DRAWINGS:
            await draw(vm, command)
            await becomes_same_picture(session, vm)
    assert kinds["ZlibGlzImage"]


async def test_jpeg(small_guests: Any, kinds: Counter[str]) -> None:
    async with (
        small_guests.another("qxl", **{"jpeg-wan-compression": "always"}) as vm,
        caraway.connect(vm.spice_uri(), channels=["display"]) as session,
    ):
        await session.display.ready()
        await draw(vm, "photo 1")
        await is_nearly_the_same(session, vm)
    assert kinds["JpegImage"]


class Watched:
    """What a display channel was told of streams."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.types: list[int] = []
        self.shown = 0
        self.destroyed = asyncio.Event()
        self.playing = asyncio.Event()
        dispatch, show = DisplayChannel._dispatch, Player._show_one

        def noting(channel: DisplayChannel, type: int, body: Any) -> Any:
            self.types.append(type)
            if type == StreamDestroy.id:
                self.destroyed.set()
            return dispatch(channel, type, body)

        async def showing(player: Player, frame: Any) -> None:
            await show(player, frame)
            self.shown += frame.is_shown
            self.playing.set()

        monkeypatch.setattr(DisplayChannel, "_dispatch", noting)
        monkeypatch.setattr(Player, "_show_one", showing)


async def test_video_stream(small_machines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its frames are shown; at its end the server repairs the picture."""
    vm = small_machines["qxl", "streaming"]
    watched = Watched(monkeypatch)
    async with caraway.connect(vm.spice_uri(), channels=["display"]) as session:
        await session.display.ready()
        for _ in range(10):
            await draw(vm, "video 60 40 320 240")
            if watched.shown >= 10:
                break
        assert StreamCreate.id in watched.types
        assert watched.shown >= 10
        async with asyncio.timeout(30):
            await session.until(watched.destroyed.wait())
        await becomes_same_picture(session, vm)


@pytest.mark.parametrize("seamless", [True, False], ids=["seamless", "semi"])
async def test_moves_with_glz_caches_and_a_stream_on_screen(
    small_guests: Any, seamless: bool, monkeypatch: pytest.MonkeyPatch, kinds: Counter[str]
) -> None:
    options = {"seamless-migration": seamless, "image-compression": "glz", "streaming-video": "all"}
    watched = Watched(monkeypatch)
    async with (
        small_guests.another("qxl", **options) as source,
        small_guests.awaiting(**options) as target,
        caraway.connect(source.spice_uri()) as session,
    ):
        await session.display.ready()
        await draw(source, "photo 1", "scroll 10 5")
        await becomes_same_picture(session, source)
        await source.ask("video 0 40 320 240", "@ok")
        async with asyncio.timeout(30):
            await session.until(watched.playing.wait())
        await move(source, target)
        await target.ask("stop", "@done")
        assert kinds["GlzImage"]
        await draw(target, "rect 5 5 50 50 00ff00", "photo 2", "scroll 10 5")
        await becomes_same_picture(session, target)
