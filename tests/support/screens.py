"""What a guest's screen really holds, to be compared with what a client shows."""

import asyncio
import zlib

from caraway.canvas.screen import Change
from caraway.client import Session
from caraway.client.screenshot import Screenshot
from caraway.qemu.process import Qemu
from support.c_client import c_client


def rgb(ppm: bytes, size: tuple[int, int]) -> bytes:
    """The pixels of a binary PPM. Asserts its size."""
    _, width, height = ppm[:32].split()[:3]
    assert (int(width), int(height)) == size
    return ppm[-3 * size[0] * size[1] :]


async def assert_same_picture(session: Session, vm: Qemu, display: int = 0) -> None:
    """The session's picture equals QEMU's own `screendump` in every pixel; the guest's screen must be still."""
    picture = session.displays[display].screenshot()
    truth = rgb(await vm.screendump("ppm"), (picture.width, picture.height))
    # A difference of megabytes is not worth a diff.
    assert (picture.rgb == truth) is True, f"{sum(a != b for a, b in zip(picture.rgb, truth, strict=True))} bytes"


async def wait_until_only_blinking(session: Session, cell: int = 9 * 16) -> None:
    """Wait until nothing changes but the cursor of a text screen, which never stands still."""
    screen = session.display.screen
    done = asyncio.Event()
    small_changes = 0

    def note(change: Change) -> None:
        nonlocal small_changes
        area = sum((box.right - box.left) * (box.bottom - box.top) for box in change.boxes)
        small_changes = small_changes + 1 if area <= cell else 0
        if small_changes == 4:
            done.set()

    stop = screen.listen(note)
    try:
        async with asyncio.timeout(30):
            await session.until(done.wait())
    finally:
        stop()


async def becomes_same_picture(session: Session, vm: Qemu) -> None:
    """Sooner or later a picture equals QEMU's `screendump`, of a screen that is still or only blinks.

    Or what the C client shows of it: under TCG a page that the guest writes while QEMU looks at it may not count as
    written, and then no client is told of it.
    """
    shown, truth = Screenshot(0, 0, b""), b""
    try:
        async with asyncio.timeout(30):
            async for shown in session.display.frames():
                truth = rgb(await vm.screendump("ppm"), (shown.width, shown.height))
                if truth == shown.rgb:
                    return
    except TimeoutError:
        if await _c_client_shows(shown, vm):
            return
        raise AssertionError(f"still another picture: {_difference(shown.rgb, truth, shown.width)}") from None


async def _c_client_shows(picture: Screenshot, vm: Qemu) -> bool:
    assert vm.spice is not None
    wanted = zlib.crc32(picture.rgb)
    try:
        async with c_client(vm.spice.port) as viewer, asyncio.timeout(5):
            while (await viewer.ask("picture", display=0))["crc"] != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        return False
    return True


def _difference(rgb: bytes, truth: bytes, width: int) -> str:
    places = [i // 3 for i, (a, b) in enumerate(zip(rgb, truth, strict=True)) if a != b]
    if not places:
        return "none came"
    rows, columns = [at // width for at in places], [at % width for at in places]
    return f"{len(places)} bytes in columns {min(columns)} to {max(columns)}, rows {min(rows)} to {max(rows)}"
