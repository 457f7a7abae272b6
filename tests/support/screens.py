"""What a guest's screen really holds, to be compared with what a client shows."""

from caraway.client import Session
from caraway.qemu.process import Qemu


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
