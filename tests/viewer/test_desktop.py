"""`caraway view` as a person uses it: a window on an X server, real keys and a real mouse."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from caraway.client.keyboard import KEYS, strokes
from caraway.embedded import EmbeddedGuest
from caraway.embedded.seen import Button, Key, Placed
from caraway.server import Server
from caraway.wire.messages.inputs import MouseButton
from support.desktop import Desktop, desktop, window
from support.serving import until

WIDTH, HEIGHT = 640, 480
AWAY = ("1020", "790")
MAIN = ("env", "QT_QPA_PLATFORM=xcb", sys.executable, "-c", "from caraway.cli import main; main()")


def keys_of(text: str) -> list[Key]:
    """What xdotool makes of a text on a US keyboard: it lets go of Shift before the key."""
    return [Key(code, down) for codes in strokes(text) for down in (True, False) for code in codes]


async def shown(desktop: Desktop, guest: EmbeddedGuest) -> tuple[int, int]:
    return await desktop.until_shown(bytes(guest.display.pixels)[: 4 * WIDTH * HEIGHT], WIDTH)


async def test_a_window_on_a_desktop(tmp_path: Path) -> None:
    guest = EmbeddedGuest(WIDTH, HEIGHT)
    async with Server(guest, host="127.0.0.1", port=0) as server, desktop(tmp_path) as screen:
        async with window(screen, *MAIN, "view", f"spice://127.0.0.1:{server.port}"):
            await until(lambda: server.viewers)
            # The X server draws the pointer into its picture: it should not lie over the window.
            await screen.do("mousemove", *AWAY)
            left, top = await shown(screen, guest)
            await screen.do("search", "--onlyvisible", "--name", "Caraway$", "windowfocus", "--sync")
            guest.seen.clear()

            await screen.do("mousemove", str(left + 200), str(top + 300), "click", "3")
            await until(lambda: len(guest.seen.pointer) >= 3)
            *places, down, up = guest.seen.pointer
            assert {type(place) for place in places} == {Placed}
            assert places[-1][:2] == (200, 300)
            assert [down, up] == [Button(MouseButton.RIGHT, True), Button(MouseButton.RIGHT, False)]
            await screen.do("mousemove", str(left + 200), str(top + HEIGHT + 5))

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
