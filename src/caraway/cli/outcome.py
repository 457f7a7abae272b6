"""What a migration did to its viewer, in figures and as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

ENTER = "1c"
"""Scancode of the key that is pressed last: once the guest has seen it, it has seen all."""


@dataclasses.dataclass(slots=True)
class Outcome:
    """What one migration did to the viewer."""

    mode: str
    picture_gap_ms: int
    blank_ms: int
    keys_sent: int
    keys_lost: int
    keys_stuck: int
    channels_kept: str
    session_kept: bool
    downtime_ms: int | None

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON's types."""
        return dataclasses.asdict(self)


class Keys:
    """What the guests saw of the keyboard, from their serial lines."""

    def __init__(self, lines: Iterable[str]) -> None:
        events = [line.split()[1:] for line in lines if line.startswith("@key ") and f" {ENTER} " not in line]
        self.pressed = sum(state == "down" for _, state in events)
        last = dict(events)
        self.stuck = sum(state == "down" for state in last.values())


def print_table(outcomes: Mapping[str, Outcome]) -> None:
    """Print outcomes by the names of their migrations."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title="What the viewer noticed; times in ms", box=SIMPLE_HEAD, padding=0, collapse_padding=True)
    for heading in ("", "gap", "blank", "keys lost", "stuck", "channels", "session", "VM down"):
        table.add_column(
            heading, justify="left" if heading == "" else "right", no_wrap=True, min_width=len(heading) + 1
        )
    for name, outcome in outcomes.items():
        table.add_row(
            name,
            str(outcome.picture_gap_ms),
            str(outcome.blank_ms),
            f"{outcome.keys_lost} of {outcome.keys_sent}",
            str(outcome.keys_stuck),
            outcome.channels_kept,
            "kept" if outcome.session_kept else "new",
            "-" if outcome.downtime_ms is None else str(outcome.downtime_ms),
        )
    Console().print(table)
