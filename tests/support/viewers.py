"""The server's display channel without a socket: what it sends is drawn, when the test lets it be sent."""

import asyncio
import time
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from caraway.server.capture import Capture
from caraway.server.display import DisplayChannel
from caraway.server.display_options import DisplayOptions
from caraway.server.guest import Display, Guest
from caraway.server.signal import Signal
from caraway.wire.capabilities import Capabilities
from caraway.wire.constants import ChannelType, Sender
from caraway.wire.messages import base
from caraway.wire.messages.display import DisplayCapability, Init
from support.drawings import Drawings

CAPABILITIES = Capabilities([DisplayCapability.MONITORS_CONFIG, DisplayCapability.LZ4_COMPRESSION])


class StubServer:
    """What channels ask of a server."""

    def __init__(self, *displays: Display, options: DisplayOptions | None = None) -> None:
        self.guest = Guest(*displays)
        self.display_options = options or DisplayOptions()
        self.captures: dict[Display, Capture] = {}


class StubConnection:
    """Draws what is sent."""

    peer = "test"
    local = False

    def __init__(self) -> None:
        self.client_capabilities = CAPABILITIES
        self.writable = True
        self.on_writable: Any = None
        self.drawings = Drawings()
        self.sent: list[Any] = []
        """Messages."""
        self.sent_bytes = 0
        self.wrote = asyncio.Event()

    def begin(self, max_size: int, read_size: int) -> None:
        pass

    def write_message(self, type: int, body: bytes, serial: int) -> None:
        known = base.messages(ChannelType.DISPLAY, Sender.SERVER)
        message = base.unpack(known[type], body, "display 0") if type in known else None
        self.sent_bytes += len(body)
        if message is not None:
            self.sent.append(message)
            self.drawings.handle(message)
            self.wrote.set()


class StubViewer:
    """A viewer of one display."""

    def __init__(self, server: StubServer, *, window_pixels: int = 1 << 20) -> None:
        self.server, self.guest, self.low_bandwidth = server, server.guest, False
        self.channels: dict[Any, Any] = {}
        self.bit_rate = self.round_trip = None
        self.link_measured: Signal[[]] = Signal()
        self.latency = 400
        self.connection = StubConnection()
        self.channel = DisplayChannel(self, 0, self.connection)  # type: ignore[arg-type]
        self.channel.flow.window = types.SimpleNamespace(open=True, sent=lambda: None)  # type: ignore[assignment]
        self.channel.start()
        self.channel._init(Init(1, 0, 1, window_pixels))

    def media_time(self) -> int:
        return time.monotonic_ns() // 1_000_000 & 0xFFFFFFFF

    @property
    def pixels(self) -> np.ndarray | None:
        """What the viewer has, without the unused byte."""
        surface = self.connection.drawings.surfaces.get(0)
        if surface is None:
            return None
        return np.frombuffer(bytes(surface.data), "<u4").reshape(surface.height, surface.width) & 0xFFFFFF

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until what the viewer was sent makes this true."""
        async with asyncio.timeout(10):
            while not condition():
                self.connection.wrote.clear()
                await self.connection.wrote.wait()

    def stop(self) -> None:
        """Take nothing."""
        self.connection.writable = False

    def go_on(self) -> None:
        """Take everything again."""
        self.connection.writable = True
        self.connection.on_writable()

    async def leave(self) -> None:
        self.channel.closed()
        await self.channel._tasks.aclose()
