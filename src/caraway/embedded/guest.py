"""The embedded guest: a desktop of its own with everything that a server can serve, driven by ticks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import uuid as uuids
from typing import Any

import numpy as np

from caraway.canvas.region import Box, intersect
from caraway.client.keyboard import KEYS
from caraway.embedded import sound, video
from caraway.embedded.agent import Agent
from caraway.embedded.desktop import MAX_MARKS, SPEED, Desktop, Model
from caraway.embedded.drawing import Pixels, slices
from caraway.embedded.keyboard import Keyboard, events
from caraway.embedded.memory import PAGE, Memory
from caraway.embedded.pointer import arrow
from caraway.embedded.seen import Button, Key, Moved, Placed, Seen
from caraway.embedded.terminal import MAX_PASTE
from caraway.errors import ProtocolError
from caraway.server.guest import Display, Guest, Playback, Port, Record
from caraway.wire.messages.inputs import MouseButton, MouseButtons

ECHO_PORT_NAME = "org.caraway.echo.0"

MIN_SIZE = (320, 200)
MAX_SIDE = 8192
MAX_RATE = 1000
MEMORY = 32 << 20
"""Bytes of video memory: enough for a display of 3840x2160."""

_MAGIC = b"CARAWAY1"
_HEAD = struct.Struct("<8sII")
_PAGE = struct.Struct("<I")


class EmbeddedGuest(Guest):
    """A guest without a machine around it: windows, a counter, a terminal, video, sound, an agent, a port that echoes.

    Each `tick` is 1 / rate seconds of its time, and the same ticks and input make the same pictures; `run` ticks in
    real time. `seen` has what its keyboard and pointer have told it. Needs numpy.
    """

    def __init__(
        self,
        width: int = 1280,
        height: int = 800,
        *,
        rate: int = 25,
        name: str = "Caraway",
        uuid: uuids.UUID | None = None,
        memory: int = MEMORY,
    ) -> None:
        self.memory = Memory(memory)
        """The pixels, rows of the display's width from its start on."""
        if not self._can_be(width, height):
            raise ValueError(f"a display of {width}x{height} pixels in {memory} bytes")
        self.display = Display(width, height, self.memory.view)
        super().__init__(self.display, name=name, uuid=uuid)
        self.playback = Playback(sound.FREQUENCY, sound.CHANNELS)
        self.record = Record(sound.FREQUENCY, sound.CHANNELS)
        self.echo = Port(ECHO_PORT_NAME)
        """Gives back what it gets."""
        self.ports = [self.echo]
        self._agent = Agent(self.resize, self._pasted)
        self.agent = self._agent.port
        self.seen = Seen()
        self._keyboard = Keyboard()
        self.leds = self._keyboard.leds
        self._model = Model(width, height, rate=rate, leds=int(self.leds))
        self._heard = 0
        self._begin_picture()
        self.display.set_cursor(arrow())
        self.display.move_cursor(width // 2, height // 2)
        self.record.received.connect(self._hear)
        self.echo.received.connect(self._echo)
        self.echo.drained.connect(self.echo.resume)
        self.echo.viewer_broke.connect(self.echo.send_break)
        self.echo.open()

    # time

    @property
    def ticks(self) -> int:
        """How much of its time has passed."""
        return self._model.ticks

    async def run(self) -> None:
        """Tick in real time, until cancelled. Time that was missed is left out; whoever goes on ticks at once."""
        clock = asyncio.get_running_loop().time
        runs = asyncio.Event()
        with contextlib.ExitStack() as stack:
            stack.callback(self.running_changed.connect(lambda: runs.set() if self.running else runs.clear()))
            due = clock()
            while True:
                if not self.running:
                    runs.clear()
                    await runs.wait()
                    due = clock()
                self.tick()
                due = max(due + 1 / self._model.rate, clock())
                await asyncio.sleep(due - clock())

    def tick(self) -> None:
        """One step; nothing while paused."""
        if not self.running:
            return
        model = self._model
        model.ticks += 1
        self._update(self._desktop.digits_from(model.ticks - 1))
        if model.ticks % model.rate == 0:
            self._update(self._desktop.clock())
        if model.video:
            self._next_frame()
        if model.tone and self.playback:
            frames = sound.FREQUENCY // model.rate
            self.playback.write(sound.tone(model.ticks * frames, frames))
        self._show_level()

    def pause(self) -> None:
        """Stop: no time passes, input is lost, sound ends."""
        self.set_running(False)
        assert self.playback
        assert self.record
        self.playback.stop()
        self.record.stop()

    def resume(self) -> None:
        """Go on."""
        self.set_running(True)
        if self._model.microphone and self.record:
            self.record.start()

    # the picture

    def _can_be(self, width: int, height: int) -> bool:
        fits = MIN_SIZE[0] <= width <= MAX_SIDE and MIN_SIZE[1] <= height <= MAX_SIDE
        return fits and 4 * width * height <= len(self.memory.view)

    def resize(self, width: int, height: int) -> bool:
        """Another size of the display. False: it cannot be that one."""
        if not self._can_be(width, height):
            return False
        if (width, height) != (self.display.width, self.display.height):
            self._model.width, self._model.height = width, height
            self._model.marks = [mark for mark in self._model.marks if mark[0] < width and mark[1] < height]
            self.memory.clear()
            self._begin_picture()
            self._show(self._desktop.canvas.box)
            self.display.show(width, height, self.memory.view)
            x, y = self.display.cursor_position
            self.display.move_cursor(min(x, width - 1), min(y, height - 1))
        return True

    def _begin_picture(self) -> None:
        self._take_picture()
        self._desktop.complete()
        self._compose(self._desktop.canvas.box)

    def _take_picture(self) -> None:
        """What is in the memory is the picture."""
        model = self._model
        self._desktop = Desktop(model)
        self._pixels: Pixels = np.frombuffer(self.memory.view, np.uint8, 4 * model.width * model.height)
        self._pixels = self._pixels.reshape(model.height, model.width, 4)
        self._film = self._desktop.film()
        self._frame = self._film_frame()

    def _film_frame(self) -> Pixels:
        home = self._desktop.layout.video
        return video.frame(self._model.frames, home.width, home.height)

    def _next_frame(self) -> None:
        model, before = self._model, self._film
        self._desktop.complete()
        model.frames += 1
        if model.video == 2:
            model.way += SPEED
        self._film, self._frame = self._desktop.film(), self._film_frame()
        self._show(_around(before, self._film))

    def _update(self, box: Box) -> None:
        """Something within a box is to be painted anew."""
        self._desktop.paint(box)
        self._show(box)

    def _show(self, box: Box | None) -> None:
        part = intersect(box, self._desktop.canvas.box) if box else None
        if part is not None:
            self._compose(part)
            self.display.damage(part.left, part.top, part.width, part.height)

    def _compose(self, box: Box) -> None:
        self._pixels[slices(box)] = self._desktop.canvas.pixels[slices(box)]
        if self._film and (part := intersect(self._film, box)):
            self._pixels[slices(part)] = self._frame[slices(part.moved(-self._film.left, -self._film.top))]
        self.memory.wrote(box, 4 * self._model.width)

    # switches

    @property
    def video(self) -> int:
        """0: none; 1: it plays at its place; 2: it wanders over the desktop as it plays."""
        return self._model.video

    @video.setter
    def video(self, mode: int) -> None:
        before = self._film
        self._desktop.complete()
        self._model.video = mode
        self._film = self._desktop.film()
        self._show(_around(before, self._film))

    @property
    def tone(self) -> bool:
        """Whether the guest makes a sound of 440 Hz."""
        return self._model.tone

    @tone.setter
    def tone(self, on: bool) -> None:
        self._model.tone = on
        if not on and self.playback:
            self.playback.stop()
        self._update(self._desktop.layout.status)

    @property
    def microphone(self) -> bool:
        """Whether the guest listens and shows the level of what it hears."""
        return self._model.microphone

    @microphone.setter
    def microphone(self, on: bool) -> None:
        self._model.microphone, self._model.level = on, 0
        assert self.record
        if on and self.running:
            self.record.start()
        elif not on:
            self.record.stop()
        self._update(self._desktop.layout.status)

    @property
    def level(self) -> int:
        """How loud what it hears is, 0 to 20, as shown at the last tick."""
        return self._model.level

    def set_absolute_pointer(self, absolute: bool) -> None:
        super().set_absolute_pointer(absolute)
        self._model.absolute = absolute
        self._update(self._desktop.layout.bar)

    def _hear(self, samples: bytes) -> None:
        self._heard = max(self._heard, sound.level(samples))

    def _show_level(self) -> None:
        level, self._heard = max(self._heard, self._model.level - 1, 0), 0
        if self._model.microphone and level != self._model.level:
            self._model.level = level
            self._update(self._desktop.meter())

    # input

    def keys(self, scancodes: bytes) -> None:
        if not self.running:
            return
        for code, down in events(scancodes):
            self.seen.append(Key(code, down))
            repeats = down and code in self._keyboard.held
            character = self._keyboard.key(code, down)
            if self._keyboard.leds != self.leds:
                self._model.leds = int(self._keyboard.leds)
                self._update(self._desktop.layout.status)
                self.set_leds(self._keyboard.leds)
            if character and self._keyboard.ctrl:
                self._shortcut(character)
            elif character:
                self._type(character)
            elif down and not repeats:
                self._function_key(code)

    def _function_key(self, code: int) -> None:
        if code == KEYS["f2"]:
            self.video = (self.video + 1) % 3
        elif code == KEYS["f3"]:
            self.tone = not self.tone
        elif code == KEYS["f4"]:
            self.microphone = not self.microphone
        elif code == KEYS["f5"]:
            self.set_absolute_pointer(not self.absolute_pointer)

    def _shortcut(self, character: str) -> None:
        if character.lower() == "c":
            self.copy(self.typed)
        elif character.lower() == "v":
            self.type(self.clipboard[:MAX_PASTE])

    @property
    def typed(self) -> str:
        """What stands on the terminal's last line."""
        return self._model.terminal.typed

    def type(self, text: str) -> None:
        """Have characters appear in the terminal."""
        for character in text:
            self._type(character)

    def _type(self, character: str) -> None:
        terminal = self._model.terminal
        is_full = len(terminal.lines) >= terminal.rows
        if terminal.type(character) and is_full:
            self._scroll()
        self._update(self._desktop.typed_line())

    def _scroll(self) -> None:
        """The terminal's lines have moved up by one; they do so on the screen where nothing lies over them."""
        text, line = self._desktop.layout.text, self._desktop.layout.line
        lines = Box(text.left, text.top, text.right, text.top + self._model.terminal.rows * line)
        above = [self._film, *(self._desktop.mark(x, y) for x, y, _ in self._model.marks)]
        if any(box and intersect(box, lines) for box in above):
            self._update(lines)
        else:
            self._desktop.paint(lines)
            moved = Box(lines.left, lines.top, lines.right, lines.bottom - line)
            self._pixels[slices(moved)] = self._pixels[slices(moved.moved(0, line))].copy()
            self.memory.wrote(moved, 4 * self._model.width)
            self.display.copy(moved.left, moved.top, moved.width, moved.height, 0, -line)

    def pointer_moved(self, dx: int, dy: int, buttons: MouseButtons) -> None:
        if self.running:
            self.seen.append(Moved(dx, dy, buttons))
            x, y = self.display.cursor_position
            self._point(x + dx, y + dy)

    def pointer_placed(self, display: Display, x: int, y: int, buttons: MouseButtons) -> None:
        if self.running:
            self.seen.append(Placed(x, y, buttons))
            self._point(x, y)

    def _point(self, x: int, y: int) -> None:
        self.display.move_cursor(max(0, min(x, self.display.width - 1)), max(0, min(y, self.display.height - 1)))

    def button_pressed(self, button: MouseButton, buttons: MouseButtons) -> None:
        if not self.running:
            return
        self.seen.append(Button(button, True))
        if button not in (MouseButton.UP, MouseButton.DOWN):
            marks = self._model.marks
            marks.append((*self.display.cursor_position, int(button)))
            gone = marks[:-MAX_MARKS]
            del marks[:-MAX_MARKS]
            for x, y, _ in (*gone, marks[-1]):
                self._update(self._desktop.mark(x, y))

    def button_released(self, button: MouseButton, buttons: MouseButtons) -> None:
        if self.running:
            self.seen.append(Button(button, False))

    # clipboard and ports

    @property
    def clipboard(self) -> str:
        """The newest text that the viewer or the guest has copied."""
        return self._agent.clipboard if self._agent.offered is None else self._agent.offered

    def copy(self, text: str) -> None:
        """Copy a text: the viewer can have it."""
        self._agent.copy(text)
        self._pasted()

    def _pasted(self) -> None:
        self._model.clipboard = self.clipboard[:200]
        self._update(self._desktop.layout.status)

    def _echo(self, data: bytes) -> None:
        self.echo.write(data)
        if self.echo.flooded:
            self.echo.pause()

    # state

    def device_state(self) -> bytes:
        """All of the state but the memory."""
        state = {
            "model": self._model.save(),
            "keyboard": self._keyboard.save(),
            "agent": self._agent.save(),
            "seen": self.seen.save(),
            "pointer": self.display.cursor_position,
            "heard": self._heard,
        }
        return json.dumps(state).encode()

    def restore_devices(self, state: bytes) -> None:
        """Be as `device_state` told, with the pixels that are in the memory. Whether it runs stays as it is.

        Raises ProtocolError if that is no such state; the guest then is good for nothing but another restore.
        """
        try:
            self._load(json.loads(state))
        except (ValueError, TypeError, KeyError, LookupError, AttributeError, OverflowError, RecursionError) as error:
            raise ProtocolError(f"embedded guest: not a state: {error!r}") from None

    def _load(self, state: dict[str, Any]) -> None:
        model = Model.load(state["model"])
        if not (self._can_be(model.width, model.height) and 0 < model.rate <= MAX_RATE):
            raise ValueError(f"a display of {model.width}x{model.height} pixels, {model.rate} ticks a second")
        self._model = model
        self._take_picture()
        self._keyboard.load(state["keyboard"])
        self._agent.load(state["agent"])
        self.seen.load(state["seen"])
        self._heard = int(state["heard"])
        self.display.show(model.width, model.height, self.memory.view)
        x, y = state["pointer"]
        self._point(int(x), int(y))
        self.set_leds(self._keyboard.leds)
        if model.absolute != self.absolute_pointer:
            self.set_absolute_pointer(model.absolute)
        if self.running:
            self.resume()

    def state(self) -> bytes:
        """All of the state as one value: that of the devices, and the pages of memory that are not empty."""
        devices, pages = self.device_state(), self.memory.used()
        parts = [_HEAD.pack(_MAGIC, len(devices), len(pages)), devices]
        for number in pages:
            parts += [_PAGE.pack(number), bytes(self.memory.page(number))]
        return b"".join(parts)

    def restore(self, state: bytes) -> None:
        """Be as `state` told; see `restore_devices`."""
        if len(state) < _HEAD.size:
            raise ProtocolError(f"embedded guest: a state of {len(state)} bytes")
        magic, size, count = _HEAD.unpack_from(state)
        start = _HEAD.size + size
        if magic != _MAGIC or len(state) != start + count * (_PAGE.size + PAGE):
            raise ProtocolError(f"embedded guest: {len(state)} bytes are not a state of {count} pages")
        self.memory.clear()
        for at in range(start, len(state), _PAGE.size + PAGE):
            (number,) = _PAGE.unpack_from(state, at)
            if number >= self.memory.pages:
                raise ProtocolError(f"embedded guest: page {number} of {self.memory.pages}")
            self.memory.page(number)[:] = state[at + _PAGE.size : at + _PAGE.size + PAGE]
        self.restore_devices(state[_HEAD.size : start])


def _around(*boxes: Box | None) -> Box | None:
    """The box around those that there are."""
    there = [box for box in boxes if box]
    if not there:
        return None
    lefts, tops, rights, bottoms = zip(*there, strict=True)
    return Box(min(lefts), min(tops), max(rights), max(bottoms))
