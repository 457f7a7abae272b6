"""`caraway view` as a person uses it: a window on an X server, real keys and a real mouse."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

from PIL import Image

from caraway.client.keyboard import KEYS, strokes
from caraway.embedded import EmbeddedGuest
from caraway.embedded.seen import Button, Key, Moved, Placed
from caraway.qemu.process import Qemu
from caraway.server import Server
from caraway.wire.messages.inputs import MouseButton
from support.desktop import Desktop, desktop, window
from support.moves import machines, move
from support.serving import until

WIDTH, HEIGHT = 640, 480
AWAY = ("1020", "790")
MAIN = ("env", "QT_QPA_PLATFORM=xcb", sys.executable, "-c", "from caraway.cli import main; main()")


def keys_of(text: str) -> list[Key]:
    """What xdotool makes of a text on a US keyboard: it lets go of Shift before the key."""
    return [Key(code, down) for codes in strokes(text) for down in (True, False) for code in codes]


async def shown(desktop: Desktop, guest: EmbeddedGuest) -> None:
    """Wait until the window has taken the guest's size, in the corner as windows are without a manager."""
    async with asyncio.timeout(20):
        while await desktop.until_shown(bytes(guest.display.pixels)[: 4 * WIDTH * HEIGHT], WIDTH) != (0, 0):
            pass


async def test_a_window_on_a_desktop(tmp_path: Path) -> None:
    guest = EmbeddedGuest(WIDTH, HEIGHT)
    async with Server(guest, host="127.0.0.1", port=0) as server, desktop(tmp_path) as screen:
        async with window(screen, *MAIN, "view", f"spice://127.0.0.1:{server.port}"):
            await until(lambda: server.viewers)
            # The X server draws the pointer into its picture: it should not lie over the window.
            await screen.do("mousemove", *AWAY)
            await shown(screen, guest)
            await screen.do("search", "--onlyvisible", "--name", "Caraway$", "windowfocus", "--sync")
            guest.seen.clear()

            await screen.do("mousemove", "200", "300", "click", "3")
            await until(lambda: len(guest.seen.pointer) >= 3)
            *places, down, up = guest.seen.pointer
            assert {type(place) for place in places} == {Placed}
            assert places[-1][:2] == (200, 300)
            assert [down, up] == [Button(MouseButton.RIGHT, True), Button(MouseButton.RIGHT, False)]
            await screen.do("mousemove", "200", str(HEIGHT + 5))

            await screen.do("type", "--delay", "20", "Hello, World! 42")
            await screen.do("key", "--delay", "20", "Return", "Left", "KP_Enter", "F3")
            expected = keys_of("Hello, World! 42")
            for name in ("enter", "left", "kp_enter", "f3"):
                expected += [Key(KEYS[name], True), Key(KEYS[name], False)]
            await until(lambda: len(guest.seen.keys) >= len(expected))
            assert guest.seen.keys == expected
            assert guest.tone

            for _ in range(5):
                guest.tick()
            await screen.do("mousemove", *AWAY)
            await shown(screen, guest)
        async with asyncio.timeout(20):
            while server.viewers:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_mouse_that_only_moves_is_captured(tmp_path: Path) -> None:
    guest = EmbeddedGuest(WIDTH, HEIGHT)
    guest.set_absolute_pointer(False)
    # The window draws the guest's pointer into the picture.
    guest.display.set_cursor(None)

    def moved() -> tuple[int, int]:
        steps = [event for event in guest.seen.pointer if isinstance(event, Moved)]
        return sum(step.dx for step in steps), sum(step.dy for step in steps)

    async with (
        Server(guest, host="127.0.0.1", port=0) as server,
        desktop(tmp_path) as screen,
        window(screen, *MAIN, "view", f"spice://127.0.0.1:{server.port}"),
    ):
        await until(lambda: server.viewers)
        await screen.do("mousemove", *AWAY)
        await shown(screen, guest)
        await screen.do("search", "--onlyvisible", "--name", "Caraway$", "windowfocus", "--sync")
        await screen.do("mousemove", "5", "5", "mousemove_relative", "3", "3")
        assert moved() == (0, 0)

        await screen.do("click", "1")
        # It goes on beyond the edge of the desktop, and no faster than it is moved.
        steps = 0
        async with asyncio.timeout(20):
            while moved()[0] <= 1100:
                await screen.do("mousemove_relative", "90", "0", "mousemove_relative", "--", "-3", "-2")
                steps += 1
        assert moved()[0] <= 90 * steps
        assert -2 * steps <= moved()[1] < 0
        await screen.do("click", "1")
        await until(lambda: len(guest.seen.pointer) and guest.seen.pointer[-1] == Button(MouseButton.LEFT, False))

        await screen.do("keydown", "ctrl", "keydown", "alt", "keyup", "alt", "keyup", "ctrl")
        await until(lambda: len(guest.seen.keys) == 4)
        before = moved()
        await screen.do("mousemove_relative", "50", "50")
        await screen.do("key", "a")
        await until(lambda: len(guest.seen.keys) == 6)
        assert moved() == before


async def test_a_window_follows_its_vm(tmp_path: Path) -> None:
    async with (
        machines() as (source, target),
        desktop(tmp_path) as screen,
        window(screen, *MAIN, "view", source.spice_uri()),
    ):
        await source.ask("freeze", "@ok")
        await shows_its_vm(screen, source)
        await screen.do("search", "--onlyvisible", "--name", "Caraway$", "windowfocus", "--sync")
        await press(screen, source, "a")
        await move(source, target)
        await source.aclose()
        await press(screen, target, "b")
        await screen.do("key", "Return")
        assert await target.wait_for("@line") == "@line ab"
        await shows_its_vm(screen, target)


async def shows_its_vm(screen: Desktop, vm: Qemu) -> None:
    """Wait until the desktop shows what the VM does, which may still be drawing."""
    async with asyncio.timeout(60):
        while screen.find(bgrx(await vm.screendump("ppm")), 800) is None:
            pass


async def press(screen: Desktop, vm: Qemu, key: str) -> None:
    """Press a key, and wait until the guest has seen all of it: its keyboard holds a few keys only."""
    await screen.do("key", key)
    await vm.wait_for(f"@key {KEYS[key]:x} up")


def bgrx(ppm: bytes) -> bytes:
    """The pixels of a PPM as the desktop has them."""
    with Image.open(io.BytesIO(ppm)) as image:
        return image.convert("RGBA").tobytes("raw", "BGRA")
