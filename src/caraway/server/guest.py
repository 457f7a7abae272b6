"""What a thing with a screen offers to a server: displays, input, sound, ports, and whether it runs.

A server listens to the signals of its guest and calls its methods; a guest does not know its server, nor how many
viewers there are. All of it happens on the server's event loop.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from caraway.canvas.cursor import CursorShape
from caraway.canvas.region import Box, intersect
from caraway.server.signal import Signal
from caraway.wire.constants import ChannelType
from caraway.wire.fields import Buffer
from caraway.wire.messages.inputs import KeyboardModifiers, MouseButton, MouseButtons
from caraway.wire.messages.spicevmc import WEBDAV_PORT_NAME

MAX_SIDE = 16384
"""Pixels of a display's side: twice 8K."""

AGENT_PORT_NAME = "com.redhat.spice.0"


class Display:
    """One screen: pixels that the guest owns and changes, and a cursor.

    The server reads `pixels` when a viewer can take more, so a guest changes them first and says `damage` afterwards.
    Pixels are 4 bytes, blue, green, red and one unused; rows come top first, `stride` bytes each.
    """

    def __init__(self, width: int = 0, height: int = 0, pixels: Buffer | None = None, stride: int = 0) -> None:
        self.damaged: Signal[[Box]] = Signal()
        """Pixels within a box have changed."""
        self.copied: Signal[[Box, int, int]] = Signal()
        """What a box shows came from (dx, dy) pixels left and above of it: the content was moved that far."""
        self.resized: Signal[[]] = Signal()
        """Size and pixels are others now."""
        self.cursor_changed: Signal[[]] = Signal()
        """The cursor has another shape."""
        self.cursor_moved: Signal[[]] = Signal()
        """The cursor has another place, or was shown or hidden."""
        self.cursor: CursorShape | None = None
        self.cursor_position = (0, 0)
        """Of the hot spot, pixels."""
        self.cursor_visible = False
        self.device_address = ""
        """The guest's device behind it, such as `pci/0000/02.0`: its agent is told; empty if not known."""
        self.device_display_id = 0
        """Which of that device's outputs it is."""
        self.width = self.height = self.stride = 0
        self.pixels = memoryview(b"")
        self.show(width, height, pixels, stride)

    @property
    def box(self) -> Box:
        """The whole of it."""
        return Box(0, 0, self.width, self.height)

    def show(self, width: int, height: int, pixels: Buffer | None = None, stride: int = 0) -> None:
        """Show other pixels, of another size or not; black ones of its own if omitted. 0x0: nothing is shown.

        stride: bytes of a row; 4 * width if omitted.
        Raises ValueError if the buffer is too small or a side above MAX_SIDE.
        """
        stride = stride or 4 * width
        if not (0 <= width <= MAX_SIDE and 0 <= height <= MAX_SIDE):
            raise ValueError(f"display of {width}x{height} pixels, limit {MAX_SIDE} a side")
        if stride < 4 * width:
            raise ValueError(f"stride of {stride} bytes for rows of {width} pixels")
        needed = stride * (height - 1) + 4 * width if width and height else 0
        if pixels is None:
            pixels = bytearray(stride * height)
        elif memoryview(pixels).nbytes < needed:
            raise ValueError(f"{width}x{height} pixels need {needed} bytes, got {memoryview(pixels).nbytes}")
        self.width, self.height, self.stride = width, height, stride
        self.pixels = memoryview(pixels).cast("B") if needed else memoryview(b"")
        self.resized()

    def damage(self, x: int = 0, y: int = 0, width: int | None = None, height: int | None = None) -> None:
        """These pixels have changed; all of them if omitted."""
        right = self.width if width is None else x + width
        bottom = self.height if height is None else y + height
        box = intersect(Box(x, y, right, bottom), self.box)
        if box is not None:
            self.damaged(box)

    def copy(self, x: int, y: int, width: int, height: int, dx: int, dy: int) -> None:
        """The content now at (x, y) is that of (x - dx, y - dy) before: a scroll or a moved window.

        The guest has already moved the pixels. It is a hint: `damage` says the same in more bytes.
        """
        box = Box(x, y, x + width, y + height)
        if intersect(box, self.box) == box and intersect(box.moved(-dx, -dy), self.box) == box.moved(-dx, -dy):
            self.copied(box, dx, dy)
        else:
            self.damage(x, y, width, height)

    def set_cursor(self, cursor: CursorShape | None) -> None:
        """Another shape of the cursor; None: no cursor."""
        self.cursor = cursor
        self.cursor_visible = cursor is not None
        self.cursor_changed()

    def move_cursor(self, x: int, y: int, *, visible: bool = True) -> None:
        """Another place of the cursor's hot spot."""
        self.cursor_position, self.cursor_visible = (x, y), visible
        self.cursor_moved()


class Playback:
    """Sound that the guest makes: signed 16-bit little-endian samples, channels interleaved.

    frequency: sample frames a second.
    """

    def __init__(self, frequency: int = 48000, channels: int = 2) -> None:
        self.frequency, self.channels = frequency, channels
        self.playing = False
        self.volume: Sequence[int] = ()
        """Of each channel, 0 to 65535; empty if never set."""
        self.mute = False
        self.started: Signal[[]] = Signal()
        self.stopped: Signal[[]] = Signal()
        self.data: Signal[[bytes]] = Signal()
        self.volume_changed: Signal[[]] = Signal()

    def start(self) -> None:
        """Sound begins."""
        if not self.playing:
            self.playing = True
            self.started()

    def write(self, samples: bytes) -> None:
        """More samples, of whole sample frames, in real time. Starts playing."""
        self.start()
        self.data(samples)

    def stop(self) -> None:
        """Sound ends."""
        if self.playing:
            self.playing = False
            self.stopped()

    def set_volume(self, volume: Sequence[int], *, mute: bool = False) -> None:
        """The guest's mixer has changed."""
        self.volume, self.mute = volume, mute
        self.volume_changed()


class Record:
    """Sound that the guest hears: samples as of Playback, sent by a viewer while the guest records."""

    def __init__(self, frequency: int = 48000, channels: int = 2) -> None:
        self.frequency, self.channels = frequency, channels
        self.recording = False
        self.volume: Sequence[int] = ()
        self.mute = False
        self.started: Signal[[]] = Signal()
        self.stopped: Signal[[]] = Signal()
        self.volume_changed: Signal[[]] = Signal()
        self.received: Signal[[bytes]] = Signal()
        """Samples have come from a viewer."""

    def start(self) -> None:
        """The guest begins to record."""
        if not self.recording:
            self.recording = True
            self.started()

    def stop(self) -> None:
        """The guest has recorded enough."""
        if self.recording:
            self.recording = False
            self.stopped()

    def set_volume(self, volume: Sequence[int], *, mute: bool = False) -> None:
        """The guest's mixer has changed."""
        self.volume, self.mute = volume, mute
        self.volume_changed()


class Port:
    """A byte stream between the guest and one viewer at a time.

    name: in reverse domain style, such as `org.example.console.0`.
    kind: the channel that carries it: PORT, WEBDAV or USBREDIR. The agent's port has no channel of its own.
    """

    def __init__(self, name: str, kind: ChannelType = ChannelType.PORT) -> None:
        self.name, self.kind = name, kind
        self.opened = False
        """Whether the guest's side is open."""
        self.connected = False
        """Whether a viewer's side is open."""
        self.flooded = False
        """Whether more bytes wait for the viewer than there should: write again after `drained`."""
        self.paused = False
        """Whether the guest takes no more bytes for now."""
        self.opening: Signal[[]] = Signal()
        """The guest's side was opened or closed."""
        self.broken: Signal[[]] = Signal()
        """The guest has sent a break."""
        self.output: Signal[[bytes]] = Signal()
        """Bytes from the guest."""
        self.received: Signal[[bytes]] = Signal()
        """Bytes from the viewer."""
        self.viewer_opening: Signal[[]] = Signal()
        """The viewer's side was opened or closed."""
        self.viewer_broke: Signal[[]] = Signal()
        """The viewer has sent a break."""
        self.drained: Signal[[]] = Signal()
        """The viewer has taken what was written."""
        self.resumed: Signal[[]] = Signal()
        """The guest takes bytes again."""

    def open(self) -> None:
        """The guest has opened its side."""
        if not self.opened:
            self.opened = True
            self.opening()

    def close(self) -> None:
        """The guest has closed its side."""
        if self.opened:
            self.opened = False
            self.opening()

    def write(self, data: bytes) -> None:
        """Bytes for the viewer; they are lost if there is none."""
        self.output(data)

    def send_break(self) -> None:
        """A break for the viewer."""
        self.broken()

    def pause(self) -> None:
        """Take no more bytes: the viewer has to wait."""
        self.paused = True

    def resume(self) -> None:
        """Take bytes again."""
        if self.paused:
            self.paused = False
            self.resumed()


def webdav_port() -> Port:
    """The port of a shared folder."""
    return Port(WEBDAV_PORT_NAME, ChannelType.WEBDAV)


class Monitor(NamedTuple):
    """A viewer's window, as the guest may fit its displays to them."""

    x: int
    y: int
    width: int
    height: int


class Guest:
    """A thing with a screen. Subclass it and override what it has; what is not overridden is silently not there.

    name, uuid: told to viewers.
    """

    def __init__(self, *displays: Display, name: str = "", uuid: uuid.UUID | None = None) -> None:
        self.name, self.uuid = name, uuid
        self.displays: Sequence[Display] = displays
        self.absolute_pointer = True
        """Whether the guest has a pointing device that takes positions (say `pointer_changed` after a change)."""
        self.pointer_changed: Signal[[]] = Signal()
        self.leds = KeyboardModifiers(0)
        """The lamps of the guest's keyboard."""
        self.leds_changed: Signal[[]] = Signal()
        self.playback: Playback | None = None
        self.record: Record | None = None
        self.agent: Port | None = None
        """The agent's port: chunks as on a guest's virtio-serial port (spec/messages.md 10.1)."""
        self.fits = False
        """Whether `fit` works without the agent: viewers can fit a guest to their windows that has none."""
        self.ports: Sequence[Port] = ()
        self.ports_changed: Signal[[]] = Signal()
        self.running = True
        self.running_changed: Signal[[]] = Signal()
        self.incoming = False
        """Whether the guest is still at another host, and what is shown here means nothing yet."""
        self.incoming_changed: Signal[[]] = Signal()

    def keys(self, scancodes: bytes) -> None:
        """PC/XT set 1 scancodes of keys that go down or up: whole ones, several if they must not be parted."""

    def pointer_moved(self, dx: int, dy: int, buttons: MouseButtons) -> None:
        """The mouse was moved that far."""

    def pointer_placed(self, display: Display, x: int, y: int, buttons: MouseButtons) -> None:
        """The pointer is at a place of a display, pixels."""

    def button_pressed(self, button: MouseButton, buttons: MouseButtons) -> None:
        """A button went down; of the wheel: a step. `buttons`: all that are held now."""

    def button_released(self, button: MouseButton, buttons: MouseButtons) -> None:
        """A button went up."""

    def fit(self, monitors: Sequence[Monitor]) -> bool:
        """Windows of a viewer have these sizes, one for each display. True: the guest fits itself without its agent."""
        return False

    def set_running(self, running: bool) -> None:
        """The guest was stopped, or goes on."""
        if running != self.running:
            self.running = running
            self.running_changed()

    def set_incoming(self, incoming: bool) -> None:
        """False: the guest's memory and devices are here, to be called before it runs."""
        if incoming != self.incoming:
            self.incoming = incoming
            self.incoming_changed()

    def set_leds(self, leds: KeyboardModifiers) -> None:
        """The lamps of the keyboard have changed."""
        if leds != self.leds:
            self.leds = leds
            self.leds_changed()

    def set_absolute_pointer(self, absolute: bool) -> None:
        """The guest uses a tablet, or a mouse, from now on."""
        if absolute != self.absolute_pointer:
            self.absolute_pointer = absolute
            self.pointer_changed()
