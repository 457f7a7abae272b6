"""Any buffer of pixels as a guest."""

from __future__ import annotations

import uuid

from caraway.server.guest import Display, Guest
from caraway.wire.fields import Buffer


class FramebufferGuest(Guest):
    """A guest with one display on a buffer of pixels, such as a numpy array, an mmap or a bytearray.

    pixels: 4 bytes each, blue, green, red and one unused, rows top first; black ones of its own if omitted.
    stride: bytes of a row; 4 * width if omitted.
    Change `pixels`, then say `damage(x, y, width, height)`. Override `keys`, `pointer_placed` and so on to be used.
    """

    def __init__(
        self,
        width: int,
        height: int,
        pixels: Buffer | None = None,
        *,
        stride: int = 0,
        name: str = "",
        uuid: uuid.UUID | None = None,
    ) -> None:
        super().__init__(Display(width, height, pixels, stride), name=name, uuid=uuid)

    @property
    def display(self) -> Display:
        """The one that there is."""
        return self.displays[0]

    @property
    def pixels(self) -> memoryview:
        """The pixels that are served."""
        return self.display.pixels

    def damage(self, x: int = 0, y: int = 0, width: int | None = None, height: int | None = None) -> None:
        """These pixels have changed; all of them if omitted."""
        self.display.damage(x, y, width, height)

    def show(self, width: int, height: int, pixels: Buffer | None = None, *, stride: int = 0) -> None:
        """Serve another buffer, of another size or not."""
        self.display.show(width, height, pixels, stride)
