"""Migrations as a picture: what the viewer saw and typed, one row each, around the moment of the switch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from caraway.cli.gap import Record

if TYPE_CHECKING:
    from PIL import ImageDraw

BEFORE, AFTER = 0.6, 1.2
"""Seconds shown on either side of the switch."""
WIDTH, ROW, LEFT, TOP = 1100, 92, 170, 54
INK, PALE, FRAME, KEY, GAP, BLANK = "#1d2b33", "#9fb0b8", "#1f7a6d", "#d08a1c", "#f6d9cf", "#c0392b"


def draw(records: Mapping[str, Record], path: Path) -> None:
    """Write a PNG with one row for each record, by its name."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH, TOP + ROW * len(records) + 44), "white")
    canvas = ImageDraw.Draw(image)
    canvas.text((LEFT, 12), "What the viewer sees while its VM moves to another host", INK, font_size=17)
    for number, (name, record) in enumerate(records.items()):
        _row(canvas, TOP + ROW * number, name, record)
    bottom = TOP + ROW * len(records)
    for tenth in range(round(-BEFORE * 10), round(AFTER * 10) + 1, 2):
        x = _x(tenth / 10)
        canvas.line((x, bottom, x, bottom + 5), INK)
        canvas.text((x - 14, bottom + 8), f"{tenth * 100} ms", INK, font_size=11)
    legend = (
        ("a frame of the guest", FRAME),
        ("a key pressed", KEY),
        ("longest pause", GAP),
        ("no guest picture", BLANK),
    )
    for place, (text, color) in enumerate(legend):
        x = LEFT + place * 190
        canvas.rectangle((x, bottom + 28, x + 10, bottom + 38), color)
        canvas.text((x + 16, bottom + 26), text, INK, font_size=12)
    image.save(path)


def _row(canvas: ImageDraw.ImageDraw, top: int, name: str, record: Record) -> None:
    begin, end = record.gap
    zero = record.marks.get("Switching") or record.marks.get("Reconnecting") or record.marks.get("Cancelled") or begin
    canvas.text((12, top + 20), name, INK, font_size=15)
    canvas.text((12, top + 42), f"gap {(end - begin) * 1000:.0f} ms", INK, font_size=12)
    canvas.rectangle((_x(begin - zero), top + 8, _x(end - zero), top + ROW - 14), GAP)
    for since, until in record.blanks:
        canvas.rectangle((_x(since - zero), top + 8, _x(until - zero), top + ROW - 14), BLANK)
    for moment in record.frames:
        if -BEFORE <= moment - zero <= AFTER:
            x = _x(moment - zero)
            canvas.line((x, top + 12, x, top + 44), FRAME, 2)
    for moment in record.keys:
        if -BEFORE <= moment - zero <= AFTER:
            x = _x(moment - zero)
            canvas.line((x, top + 52, x, top + 66), KEY, 2)
    written_to = 0.0
    for mark, moment in sorted(record.marks.items(), key=lambda item: item[1]):
        if -BEFORE <= moment - zero <= AFTER:
            x = _x(moment - zero)
            canvas.line((x, top + 2, x, top + ROW - 12), INK)
            if x > written_to:
                canvas.text((x + 3, top - 4), mark, INK, font_size=11)
                written_to = x + 6 + canvas.textlength(mark, font_size=11)
    canvas.line((LEFT, top + ROW - 8, WIDTH - 20, top + ROW - 8), PALE)


def _x(seconds: float) -> float:
    within = min(max(seconds, -BEFORE), AFTER)
    return LEFT + (within + BEFORE) / (BEFORE + AFTER) * (WIDTH - LEFT - 20)
