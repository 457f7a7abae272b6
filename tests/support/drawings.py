"""Runs recorded display messages on surfaces as a client's display channel does, but with no session around it."""

import struct
from collections.abc import Coroutine, Sequence
from typing import Any

from caraway.canvas.region import Box
from caraway.client.images import ImageDecoder
from caraway.client.painter import Painter
from caraway.client.shared_images import SharedImages
from caraway.client.surfaces import Surfaces
from caraway.wire.constants import ChannelType, Sender
from caraway.wire.messages import display, draw
from caraway.wire.messages.base import messages, unpack


def done(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError(f"{work} waits")


class Drawings:
    """Surfaces, and what messages do to them."""

    def __init__(self) -> None:
        self.surfaces = Surfaces()
        self._painter = Painter(self.surfaces, ImageDecoder(0, self.surfaces.get, SharedImages(lambda: 1)))

    def run(self, stream: bytes) -> None:
        """Process messages, each framed as u16 type, u32 size, body. One that is cut off is left out."""
        at = 0
        known = messages(ChannelType.DISPLAY, Sender.SERVER)
        while len(stream) - at >= 6:
            number, size = struct.unpack_from("<HI", stream, at)
            at += 6 + size
            if number in known and at <= len(stream):
                self.handle(unpack(known[number], stream[at - size : at], "display 0"))

    def handle(self, message: Any) -> Sequence[Box]:
        """Process one message; gives the damage of a drawing."""
        if isinstance(message, display.SurfaceCreate):
            self.surfaces.create(message.surface_id, message.width, message.height, message.format)
        elif isinstance(message, display.SurfaceDestroy):
            self.surfaces.destroy(message.surface_id)
        elif isinstance(message, draw.Draw):
            damage: Sequence[Box] = done(self._painter.paint(message))
            return damage
        return ()
