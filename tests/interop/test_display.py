"""What a client shows is what the guest's screen holds, in every pixel."""

import asyncio
from collections import Counter
from typing import Any

import pytest

import caraway
from caraway.client import Screenshot
from caraway.client.images import ImageDecoder
from caraway.qemu.guest_image import demo_guest
from caraway.qemu.process import Qemu
from caraway.wire.messages.images import Image
from support.peers import require_qemu
from support.screens import assert_same_picture, becomes_same_picture, wait_until_only_blinking

pytestmark = pytest.mark.asyncio(loop_scope="session")

COMPRESSION: dict[str, dict[str, Any]] = {"default": {}, "off": {"image-compression": "off"}}
SMALL = [("std", "default"), ("std", "off"), ("qxl", "default"), ("qxl", "off")]

QUIET = 0.25
"""Seconds without a change after which a picture counts as settled: QEMU looks for changes every 30 ms."""

SmallMachines = dict[tuple[str, str], Qemu]


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many images of each type came."""
    seen: Counter[str] = Counter()
    decode = ImageDecoder.decode

    async def counted(self: ImageDecoder, image: Image, *rest: Any) -> Any:
        seen[type(image.payload).__name__] += 1
        return await decode(self, image, *rest)

    monkeypatch.setattr(ImageDecoder, "decode", counted)
    return seen


async def shows_the_screen(vm: Qemu) -> Screenshot:
    async with caraway.connect(vm.spice_uri(), channels=["display"]) as session:
        await becomes_same_picture(session, vm)
        return session.display.screenshot()


@pytest.mark.parametrize("compression", COMPRESSION)
async def test_firmware(compression: str) -> None:
    require_qemu()
    async with Qemu(spice={"disable-ticketing": True, **COMPRESSION[compression]}) as vm:
        async with caraway.connect(vm.spice_uri(), channels=["display"]) as session:
            await session.display.ready()
            await wait_until_only_blinking(session)
            assert session.display.size == (720, 400)
            await becomes_same_picture(session, vm)
            assert len(set(session.display.screenshot().rgb)) > 1
        async with caraway.connect(vm.spice_uri(), channels=["display"]) as session:
            await session.display.ready()
            await becomes_same_picture(session, vm)


@pytest.mark.parametrize("vga", ["std", "qxl"])
@pytest.mark.parametrize("compression", COMPRESSION)
async def test_demo_guest_and_its_mode_switch(compression: str, vga: str) -> None:
    require_qemu()
    async with Qemu(demo_guest(), vga=vga, spice={"disable-ticketing": True, **COMPRESSION[compression]}) as vm:
        await vm.wait_for("@ready")
        await vm.ask("freeze", "@ok")
        async with caraway.connect(vm.spice_uri()) as session:
            display = session.display
            await display.wait_stable(QUIET)
            await assert_same_picture(session, vm)
            before = display.screenshot()
            pictures = [before]
            display.screen.listen(lambda change: change.new_picture and pictures.append(display.screenshot()))
            for size in (1024, 768), (640, 480):
                await vm.ask(f"mode {size[0]} {size[1]}", "@ok")
                while display.size != size:
                    # Until there is a new picture the old one stays.
                    assert display.screenshot() == pictures[-1]
                    await asyncio.sleep(0)
                await display.wait_stable(QUIET)
                await assert_same_picture(session, vm)
                pictures.append(display.screenshot())
            assert [(p.width, p.height) for p in pictures[1::2]] == [(1024, 768), (640, 480)]
        after = await shows_the_screen(vm)
        assert after == pictures[-1]


@pytest.mark.parametrize("key", SMALL, ids="-".join)
async def test_small_guest(small_machines: SmallMachines, key: tuple[str, str], kinds: Counter[str]) -> None:
    vm = small_machines[key]
    await shows_the_screen(vm)
    for command in "fill 336699", "photo 1", "rect 100 50 333 77 ff8000", "photo 2", "say hello":
        await vm.ask(command, "@ok")
        await shows_the_screen(vm)
    assert kinds


@pytest.mark.parametrize("vga", ["std", "qxl"])
async def test_raw_images(small_machines: SmallMachines, vga: str, kinds: Counter[str]) -> None:
    vm = small_machines[vga, "off"]
    for command in "photo 3", "rect 100 50 333 77 ff8000", "say hello":
        await vm.ask(command, "@ok")
        await shows_the_screen(vm)
    assert set(kinds) == {"BitmapImage"}


@pytest.mark.parametrize("key", [("std", "default"), ("qxl", "off")], ids="-".join)
@pytest.mark.parametrize("command", ["scroll 60 5", "boxes 30 20", "video 20 20 320 240"])
async def test_small_guest_that_moves(small_machines: SmallMachines, key: tuple[str, str], command: str) -> None:
    vm = small_machines[key]
    async with caraway.connect(vm.spice_uri(), channels=["display"]) as session:
        await session.display.ready()
        await vm.ask(command, "@ok")
        await vm.wait_for("@done")
        await session.display.wait_stable(QUIET)
        await assert_same_picture(session, vm)
    await shows_the_screen(vm)


async def test_two_viewers_after_each_other_see_the_same(demo_vm: Qemu) -> None:
    assert await shows_the_screen(demo_vm) == await shows_the_screen(demo_vm)
