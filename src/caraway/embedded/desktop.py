"""The picture of the guest's desktop, painted where something has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from caraway.canvas.region import Box, intersect
from caraway.embedded import video
from caraway.embedded.drawing import Canvas
from caraway.embedded.font import COLUMNS
from caraway.embedded.furniture import furniture
from caraway.embedded.layout import (
    AMBER,
    BAR,
    DIGITS,
    FAINT,
    GREEN,
    INK,
    MARGIN,
    RED,
    UNLIT,
    Layout,
)
from caraway.embedded.sound import LEVELS
from caraway.embedded.terminal import MAX_LINES, PROMPT, Terminal
from caraway.wire.messages.inputs import KeyboardModifiers

MARK = 11
MAX_MARKS = 16
MARKS = (AMBER, GREEN, RED, 0xB39DDB)
LOCKS = (
    ("NUM", KeyboardModifiers.NUM_LOCK),
    ("CAPS", KeyboardModifiers.CAPS_LOCK),
    ("SCROLL", KeyboardModifiers.SCROLL_LOCK),
)
WELCOME = ("This is a guest of Caraway's own: no QEMU, only Python.", "Type here; what you type comes back.", "")
SPEED = 6
"""Pixels that the video moves in a tick."""


@dataclass(slots=True)
class Model:
    """What there is to be seen, in JSON's types but for the terminal."""

    width: int
    height: int
    ticks: int = 0
    rate: int = 25
    leds: int = 0
    absolute: bool = True
    tone: bool = False
    microphone: bool = False
    level: int = 0
    clipboard: str = ""
    video: int = 0
    """0: none, 1: at its place, 2: on its way over the desktop."""
    frames: int = 0
    """Of the video, shown so far."""
    way: int = 0
    """Pixels that the video has gone."""
    marks: list[tuple[int, int, int]] = field(default_factory=list)
    """Where a button was pressed, and which."""
    terminal: Terminal = field(default_factory=lambda: Terminal(WELCOME))

    def save(self) -> dict[str, Any]:
        """The state as JSON's types."""
        saved = {name: getattr(self, name) for name in self.__slots__}
        return saved | {"terminal": self.terminal.lines}

    @classmethod
    def load(cls, saved: Mapping[str, Any]) -> Model:
        """What `save` told. Raises ValueError, KeyError or TypeError if that is no such state."""
        model = cls(0, 0)
        for name in cls.__slots__:
            value, kind = saved[name], type(getattr(model, name))
            if name == "terminal":
                model.terminal.lines = [str(line) for line in value][-MAX_LINES:] or [PROMPT]
            elif name == "marks":
                model.marks = [(int(x), int(y), int(button)) for x, y, button in value][-MAX_MARKS:]
            elif type(value) is not kind or (kind is int and not 0 <= value < 1 << 31):
                raise ValueError(f"{name} is not {value!r}")
            else:
                setattr(model, name, value)
        return model


class Desktop:
    """The desktop without its video on a canvas; `pixels` has both."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.layout = Layout.of(model.width, model.height)
        self.canvas = Canvas(model.width, model.height)
        self._is_complete = False
        text = self.layout.text
        columns = text.width // (COLUMNS * self.layout.scale) - 1
        model.terminal.fit(columns, (text.height - 8) // self.layout.line)

    def complete(self) -> None:
        """See to it that all of it is painted: before, only what was painted is there."""
        if not self._is_complete:
            self.paint(self.canvas.box)
            self._is_complete = True

    def paint(self, box: Box) -> None:
        """Paint a part of it anew."""
        clip = intersect(box, self.canvas.box)
        if clip is None:
            return
        self.canvas.clip = clip
        self.canvas.put(self.canvas.box, furniture(self.model.width, self.model.height))
        for paint, where in (
            (self._bar, self.layout.bar),
            (self._counter, self.layout.counter),
            (self._status, self.layout.status),
            (self._terminal, self.layout.terminal),
        ):
            if intersect(where, clip):
                paint()
        for x, y, button in self.model.marks:
            self.canvas.ring(x, y, MARK - 1, MARKS[min(button, len(MARKS)) - 1])

    def film(self) -> Box | None:
        """Where the video is now."""
        model, home = self.model, self.layout.video
        if not model.video:
            return None
        if model.video == 1:
            return home
        x = video.bounce(home.left + model.way, model.width - home.width)
        y = video.bounce(max(home.top - BAR, 0) + model.way * 2 // 3, model.height - BAR - home.height) + BAR
        return intersect(Box(x, y, x + home.width, y + home.height), self.canvas.box)

    def digits_from(self, before: int) -> Box:
        """The counter's digits that are others than before."""
        x, y = self.layout.digits
        old, new = _digits(before), _digits(self.model.ticks)
        first = next((at for at in range(DIGITS) if old[at] != new[at]), DIGITS)
        step = COLUMNS * self.layout.dot
        return Box(x + first * step, y, x + DIGITS * step, y + 7 * self.layout.dot)

    def typed_line(self) -> Box:
        """The terminal's last line and the one above, which it may have grown out of."""
        text, line = self.layout.text, self.layout.line
        _, row = self.model.terminal.cursor
        return Box(text.left, text.top + max(row - 1, 0) * line, text.right, text.top + (row + 1) * line)

    def clock(self) -> Box:
        """The time since the start."""
        return Box(self.model.width - MARGIN - 8 * COLUMNS * self.layout.scale, 0, self.model.width, BAR)

    def meter(self) -> Box:
        """The level of the microphone."""
        x, y = self._row(2)
        return Box(x + 12 * COLUMNS * self.layout.scale, y, x + 12 * COLUMNS * self.layout.scale + LEVELS * 8, y + 20)

    def mark(self, x: int, y: int) -> Box:
        """Around a click."""
        return Box(x - MARK, y - MARK, x + MARK + 1, y + MARK + 1)

    def _bar(self) -> None:
        model, canvas, scale = self.model, self.canvas, self.layout.scale
        y = self.layout.middle(self.layout.bar)
        seconds = model.ticks // model.rate
        time = f"{seconds // 3600 % 100:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        canvas.text(self.clock().left, y, scale, AMBER, time)
        facts = f"{model.width}x{model.height}  {'absolute' if model.absolute else 'relative'} pointer"
        x = self.clock().left - (len(facts) + 3) * COLUMNS * scale
        if x > MARGIN + 24 * COLUMNS * scale:
            canvas.text(x, y, scale, FAINT, facts)

    def _counter(self) -> None:
        self.canvas.lamps(*self.layout.digits, self.layout.dot, AMBER, UNLIT, _digits(self.model.ticks))

    def _row(self, number: int) -> tuple[int, int]:
        """Where a row of the status panel begins."""
        box = self.layout.status
        return box.left + MARGIN, box.top + 16 + number * (box.height - 20) // 4

    def _status(self) -> None:
        box, model, scale = self.layout.status, self.model, self.layout.scale
        if not self.layout.has_status:
            return
        x, y = self._row(0)
        for name, bit in LOCKS:
            lit = bool(model.leds & bit)
            top = y + (7 * scale - 18) // 2
            self.canvas.panel(Box(x, top, x + 18, top + 18), GREEN if lit else UNLIT, 256)
            self.canvas.text(x + 26, y, scale, INK if lit else FAINT, name)
            x += 26 + (len(name) + 2) * COLUMNS * scale
        self._fact(1, "Tone", "440 Hz" if model.tone else "off", AMBER if model.tone else FAINT)
        self._fact(2, "Microphone", "" if model.microphone else "off", FAINT)
        if model.microphone:
            self._meter()
        room = (box.width - 2 * MARGIN) // (COLUMNS * scale) - 12
        text = " ".join(model.clipboard.split()) or "empty"
        shown = text if len(text) <= room else text[: max(room - 3, 0)] + "..."
        self._fact(3, "Clipboard", shown, INK if model.clipboard else FAINT)

    def _fact(self, row: int, name: str, value: str, color: int) -> None:
        x, y = self._row(row)
        scale = self.layout.scale
        self.canvas.text(x, y, scale, FAINT, name)
        if value:
            self.canvas.text(x + 12 * COLUMNS * scale, y, scale, color, value)

    def _meter(self) -> None:
        box = self.meter()
        for step in range(LEVELS):
            color = GREEN if step < LEVELS * 2 // 3 else AMBER if step < LEVELS - 2 else RED
            x = box.left + 8 * step
            self.canvas.fill(Box(x, box.top, x + 6, box.top + 14), color if step < self.model.level else UNLIT)

    def _terminal(self) -> None:
        text, terminal = self.layout.text, self.model.terminal
        if not self.layout.has_terminal:
            return
        scale, step = self.layout.scale, COLUMNS * self.layout.scale
        for row, whole in enumerate(terminal.lines[terminal.first :]):
            y, line = text.top + row * self.layout.line, whole[: terminal.columns]
            prompt = PROMPT if line.startswith(PROMPT) else ""
            self.canvas.text(text.left, y, scale, INK, " " * len(prompt) + line[len(prompt) :] or " ")
            self.canvas.text(text.left, y, scale, GREEN, prompt or " ")
        column, row = terminal.cursor
        x, y = text.left + min(column, terminal.columns) * step, text.top + row * self.layout.line
        self.canvas.fill(Box(x, y, x + 5 * scale, y + 8 * scale), AMBER)


def _digits(value: int) -> str:
    return f"{value % 10**DIGITS:0{DIGITS}}"
