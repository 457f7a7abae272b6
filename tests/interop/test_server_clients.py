"""Real clients at our server: what they show is what the guest shows, what they type is what it gets."""

import random
import zlib
from pathlib import Path

import pytest

import caraway
from caraway.canvas.cursor import CursorShape
from caraway.wire.messages.inputs import KeyboardModifiers, MouseButton, MouseButtons
from support.browser import browser, open_page, web_folder
from support.c_client import c_client, rgb, until_same
from support.desktop import desktop, window
from support.peers import require, require_folder
from support.serving import SeenGuest, serving, until

SPICE_HTML5 = Path("/usr/share/spice-html5")
WIDTH, HEIGHT = 400, 300
NONE = MouseButtons(0)
ENDS = ("closed", "error-io", "destroyed")


def paint(guest: SeenGuest, seed: int) -> None:
    """A gradient, noise, and flat parts: something for each codec."""
    chance = random.Random(seed)
    pixels, width, height = guest.pixels, guest.display.width, guest.display.height
    for y in range(height):
        row = bytes(
            channel for x in range(width) for channel in ((x + seed) & 255, (y * 2) & 255, (x + y) // 3 & 255, 0)
        )
        pixels[y * 4 * width : (y + 1) * 4 * width] = row
    for y in range(height // 4, height // 3):
        pixels[(y * width + 20) * 4 : (y * width + 180) * 4] = chance.randbytes(640)
    for y in range(height // 2, height - 20):
        pixels[(y * width + 30) * 4 : (y * width + 130) * 4] = bytes([seed * 40 & 255, 90, 160, 0]) * 100


@pytest.fixture
def guest() -> SeenGuest:
    made = SeenGuest(WIDTH, HEIGHT, name="Guest")
    paint(made, 1)
    return made


async def test_the_c_client_shows_what_the_guest_shows(guest: SeenGuest) -> None:
    async with serving(guest, password="secret") as server, c_client(server.port, password="secret") as viewer:
        await until_same(viewer, guest.display)
        paint(guest, 2)
        guest.damage()
        await until_same(viewer, guest.display)
        guest.pixels[: 4 * WIDTH * 40] = bytes([200, 100, 50, 0]) * (WIDTH * 40)
        guest.damage(0, 0, WIDTH, 40)
        await until_same(viewer, guest.display)


async def test_the_c_client_follows_another_size(guest: SeenGuest) -> None:
    async with serving(guest) as server, c_client(server.port) as viewer:
        await until_same(viewer, guest.display)
        for width, height in ((640, 480), (320, 200)):
            guest.show(width, height)
            paint(guest, 3)
            guest.damage()
            await until_same(viewer, guest.display)


async def test_keys_and_pointer_of_the_c_client_come_once_and_in_order(guest: SeenGuest) -> None:
    async with serving(guest) as server, c_client(server.port) as viewer:
        channels = next(iter(server.viewers.values()))
        await until(lambda: channels.mouse_mode & 2)
        codes = [0x1E, 0x30, 0x2E, 0x148, 0x1D] * 20
        for code in codes:
            viewer.do("key", scancode=code, down=True)
            viewer.do("key", scancode=code, down=False)
        expected = []
        for code in codes:
            prefix = b"\xe0" if code & 0x100 else b""
            expected += [prefix + bytes([code & 0x7F]), prefix + bytes([code & 0x7F | 0x80])]
        await until(lambda: b"".join(codes for what, codes in guest.seen if what == "keys") == b"".join(expected))
        guest.seen.clear()
        viewer.do("position", x=12, y=34)
        assert await guest.until_seen(1) == [("placed", 0, 12, 34, NONE)]


async def test_a_key_held_by_a_viewer_that_leaves_is_released(guest: SeenGuest) -> None:
    async with serving(guest) as server:
        async with c_client(server.port) as viewer:
            viewer.do("key", scancode=0x1E, down=True)
            await guest.until_seen(1)
        assert (await guest.until_seen(2))[1] == ("keys", b"\x9e")


async def test_two_c_clients_share_a_guest(guest: SeenGuest) -> None:
    async with (
        serving(guest, sharing="share") as server,
        c_client(server.port) as first,
        c_client(server.port) as second,
    ):
        paint(guest, 4)
        guest.damage()
        await until_same(first, guest.display)
        await until_same(second, guest.display)


async def test_a_newcomer_takes_over_from_the_c_client(guest: SeenGuest) -> None:
    async with serving(guest) as server, c_client(server.port) as first, c_client(server.port) as second:
        await first.wait_until(lambda told: told.get("type") == "main" and told["what"] in ENDS, what="end of main")
        await until_same(second, guest.display)


async def test_a_c_client_that_may_only_look(guest: SeenGuest) -> None:
    async with serving(guest, view_only=True) as server, c_client(server.port) as viewer:
        viewer.do("key", scancode=0x1E, down=True)
        viewer.do("position", x=12, y=34)
        paint(guest, 5)
        guest.damage()
        await until_same(viewer, guest.display)
        assert guest.seen == []


@pytest.mark.parametrize("program", ["spicy", "remote-viewer"])
async def test_a_window_of_a_real_viewer(program: str, tmp_path: Path) -> None:
    guest = SeenGuest(640, 480, name="Guest")
    paint(guest, 1)
    require(program, f"apt-get install {'spice-client-gtk' if program == 'spicy' else 'virt-viewer'}")
    async with serving(guest, password="secret") as server, desktop(tmp_path) as screen:
        settings = tmp_path / "guest.vv"
        settings.write_text(
            f"[virt-viewer]\ntype=spice\nhost=127.0.0.1\nport={server.port}\npassword=secret\nfullscreen=0\n"
        )
        uri = f"spice://127.0.0.1?port={server.port}&password=secret"
        arguments = ["--uri", uri] if program == "spicy" else [str(settings)]
        async with window(screen, program, *arguments):
            left, top = await screen.until_shown(bytes(guest.pixels), 640)
            await screen.do("mousemove", str(left + 111), str(top + 77), "click", "1")
            await until(lambda: ("pressed", MouseButton.LEFT, MouseButtons.LEFT) in guest.seen)
            places = [seen for seen in guest.seen if seen[0] == "placed"]
            assert places[-1] == ("placed", 0, 111, 77, NONE)
            await screen.do("key", "a")
            await until(lambda: b"".join(seen[1] for seen in guest.seen if seen[0] == "keys") == b"\x1e\x9e")
            guest.pixels[:] = bytes(guest.pixels)[::-1]
            guest.damage()
            await screen.until_shown(bytes(guest.pixels), 640)


async def test_the_browser_shows_what_the_guest_shows(guest: SeenGuest, tmp_path: Path) -> None:
    with web_folder(require_folder(SPICE_HTML5, "apt-get install spice-html5")) as web:
        async with serving(guest, password="secret") as server, browser(tmp_path / "profile") as chromium:
            page = await open_page(chromium, f"{web}/spice_auto.html?host=127.0.0.1&port={server.port}&password=secret")
            await page.until("document.querySelector('canvas') !== null")
            for seed in (1, 2):
                paint(guest, seed)
                guest.damage()
                await page.until(SAME.replace("WANTED", f"{zlib.crc32(rgb(guest.display))}"))
            place = await page.evaluate(PLACE)
            for type in ("mousePressed", "mouseReleased"):
                point = {"x": place["x"] + 50, "y": place["y"] + 60}
                await page.call("Input.dispatchMouseEvent", type=type, button="left", clickCount=1, **point)
            await until(lambda: any(seen[0] == "pressed" for seen in guest.seen))
            for type in ("keyDown", "keyUp"):
                await page.call("Input.dispatchKeyEvent", type=type, code="KeyA", key="a", windowsVirtualKeyCode=65)
            await until(lambda: b"".join(seen[1] for seen in guest.seen if seen[0] == "keys") == b"\x1e\x9e")


PLACE = (
    "(() => { const r = document.querySelector('canvas').getBoundingClientRect(); return {x: r.left, y: r.top}; })()"
)
SAME = """(() => {
    const canvas = document.querySelector('canvas');
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let crc = -1;
    for (let i = 0; i < data.length; i++) {
        if (i % 4 == 3) continue;
        crc ^= data[i];
        for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    }
    return ((crc ^ -1) >>> 0) == WANTED;
})()"""


async def test_our_client_shows_what_the_guest_shows(guest: SeenGuest) -> None:
    async with serving(guest) as server, caraway.connect(f"spice://127.0.0.1:{server.port}") as session:
        await session.display.ready()
        for seed in (1, 2, 3):
            paint(guest, seed)
            guest.damage()
            await until(lambda: session.display.screenshot().rgb == rgb(guest.display))
        await session.inputs.type("ab")
        assert await guest.until_seen(4) == [("keys", bytes([code])) for code in (0x1E, 0x9E, 0x30, 0xB0)]


async def test_the_cursor_reaches_our_client(guest: SeenGuest) -> None:
    shape = CursorShape(3, 2, 1, 1, bytes(range(0, 240, 10)))
    guest.display.set_cursor(shape)
    guest.set_absolute_pointer(False)
    async with serving(guest) as server, caraway.connect(f"spice://127.0.0.1:{server.port}") as session:
        cursor = session.cursor
        await until(lambda: cursor.shape == shape)
        guest.display.move_cursor(33, 44)
        await until(lambda: tuple(cursor.position) == (33, 44))
        guest.display.set_cursor(None)
        await until(lambda: not cursor.visible)
        guest.display.set_cursor(shape)
        await until(lambda: cursor.visible and cursor.shape == shape)


async def test_lamps_reach_our_client(guest: SeenGuest) -> None:
    async with serving(guest) as server, caraway.connect(f"spice://127.0.0.1:{server.port}") as session:
        guest.set_leds(KeyboardModifiers.CAPS_LOCK)
        await until(lambda: session.inputs.modifiers == KeyboardModifiers.CAPS_LOCK)
