"""Draws the machines of `caraway.migration` into a page: `<!-- machine: session -->` becomes a picture and a table.

What is drawn is the text that `diagram()` makes of the table that runs; only where a state stands is said here.
"""

import html
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caraway.migration.client import TABLE as SESSION
from caraway.migration.handover import TABLE as CHANNEL
from caraway.migration.handover import Stage
from caraway.migration.notifier import TABLE as NOTIFIER
from caraway.migration.notifier import Phase
from caraway.migration.source import TABLE as SOURCE
from caraway.migration.source import State as SourceState
from caraway.migration.states import State
from caraway.migration.table import diagram
from caraway.migration.target import TABLE as TARGET
from caraway.migration.target import State as TargetState

COLUMN, ROW, WIDTH, HEIGHT = 230.0, 100.0, 156.0, 34.0
BEND = 0.12
"""How far an arrow bows, as a part of its length."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Machine:
    """The text of a diagram, and column and row of each state."""

    text: str
    places: Mapping[str, Point]


MACHINES = {
    "session": Machine(
        diagram(SESSION, State.IDLE, loops=False),
        {
            "Idle": (0, 2.3),
            "Linking": (0.55, 0),
            "LinkedSeamless": (2, 0),
            "LinkedSemi": (1.6, 1.3),
            "SwitchingSeamless": (3, 1),
            "SwitchingSemi": (3, 2.5),
            "Reconnecting": (1.6, 4.2),
            "Closed": (0, 4.2),
        },
    ),
    "channel": Machine(
        diagram(CHANNEL, Stage.LIVE, loops=False),
        {
            "Live": (0, 1.8),
            "Linking": (1, 0),
            "Waiting": (0, 0),
            "Parked": (2, 0),
            "AwaitingData": (3, 0.9),
            "Swapped": (2.2, 2.4),
        },
    ),
    "source": Machine(
        diagram(SOURCE, SourceState.IDLE, loops=False),
        {
            "Idle": (0, 1.5),
            "Asking": (1, 0),
            "Announced": (2.3, 0),
            "Recalling": (1, 2.8),
            "Leaving": (2.3, 2),
            "Moved": (3.2, 2.8),
        },
    ),
    "target": Machine(
        diagram(TARGET, TargetState.ARRIVING, loops=False),
        {
            "Arriving": (0, 1.5),
            "Agreed": (1.5, 0),
            "Expected": (1.5, 1.2),
            "Ended": (1.5, 2.4),
            "Settled": (3, 0.8),
            "Dropped": (3, 3.2),
        },
    ),
    "notifier": Machine(
        diagram(NOTIFIER, Phase.IDLE, loops=False),
        {
            "Idle": (0, 2),
            "TargetKnown": (0, 0.4),
            "Unannounced": (0.9, 3),
            "Migrating": (2, 0.4),
            "Postcopy": (3, 1.9),
            "Stopped": (3, 0.4),
        },
    ),
}

Arrows = dict[tuple[str, str], list[str]]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page."""
    return re.sub(r"^<!-- machine: (\w+) -->$", lambda found: render(MACHINES[found[1]]), markdown, flags=re.M)


def render(machine: Machine) -> str:
    """Picture, table and text of a machine."""
    arrows: Arrows = {
        (a, b): labels.split("<br/>") for a, b, labels in re.findall(r"^  (\w+) --> (\w+): (.*)$", machine.text, re.M)
    }
    notes = []
    for state, label in _from_everywhere(arrows, len(machine.places)):
        notes.append(f"- from every state to {state}: {_escaped(label)}")
        arrows = {
            pair: [each for each in labels if (pair[1], each) != (state, label)] for pair, labels in arrows.items()
        }
    arrows = {pair: labels for pair, labels in arrows.items() if labels}
    rows = [
        f"| {number} | {a} → {b} | {'<br>'.join(map(_escaped, labels))} |"
        for number, ((a, b), labels) in enumerate(arrows.items(), 1)
    ]
    text = "\n".join(f"    {line}" for line in ["```text", *machine.text.splitlines(), "```"])
    table = ["| | from → to | what happens [if] / what is done |", "|---|---|---|", *rows]
    parts = [_svg(arrows, machine.places), "\n".join(table), "\n".join(notes), f'??? note "As Mermaid text"\n\n{text}']
    return "\n\n".join(filter(None, parts))


def _from_everywhere(arrows: Arrows, states: int) -> list[tuple[str, str]]:
    """What leads to a state from all others, and would only clutter the picture."""
    counts: dict[tuple[str, str], int] = {}
    for (_, target), labels in arrows.items():
        for label in labels:
            counts[target, label] = counts.get((target, label), 0) + 1
    return [each for each, count in counts.items() if count == states - 1]


def _escaped(label: str) -> str:
    return label.replace("[", "\\[").replace("]", "\\]").replace("_", "\\_")


def _svg(arrows: Arrows, places: Mapping[str, Point]) -> str:
    middles = {state: (WIDTH / 2 + 8 + x * COLUMN, 50 + y * ROW) for state, (x, y) in places.items()}
    width = max(x for x, _ in middles.values()) + WIDTH / 2 + 8
    height = max(y for _, y in middles.values()) + 50
    lines = [
        f'<div><svg viewBox="0 0 {width:g} {height:g}" role="img" style="width:100%" font-size="14">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>',
    ]
    titles = [f"{a} → {b}: {'; '.join(labels)}" for (a, b), labels in arrows.items()]
    drawn = [_arrow(number, middles[a], middles[b]) for number, (a, b) in enumerate(arrows, 1)]
    lines += [arrow for arrow, _ in drawn]
    for state, (x, y) in middles.items():
        lines.append(
            f'<rect x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH:g}" height="{HEIGHT:g}" rx="8" '
            'fill="var(--md-code-bg-color, #eee)" stroke="currentColor"/>'
            f'<text x="{x:g}" y="{y + 5:g}" text-anchor="middle" fill="currentColor">{state}</text>'
        )
    lines += [
        f"<g><title>{html.escape(title)}</title>{badge}</g>" for title, (_, badge) in zip(titles, drawn, strict=True)
    ]
    return "\n".join([*lines, "</svg></div>"])


def _arrow(number: int, start: Point, end: Point) -> tuple[str, str]:
    """The line, and its number, which is drawn over everything else."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    bend = max(BEND, 34 / math.hypot(dx, dy))
    control = ((start[0] + end[0]) / 2 + dy * bend, (start[1] + end[1]) / 2 - dx * bend)
    start, end = _edge(start, control), _edge(end, control)
    x, y = (start[0] + 2 * control[0] + end[0]) / 4, (start[1] + 2 * control[1] + end[1]) / 4
    path = f"M{start[0]:.0f} {start[1]:.0f}Q{control[0]:.0f} {control[1]:.0f} {end[0]:.0f} {end[1]:.0f}"
    return (
        f'<path d="{path}" fill="none" stroke="currentColor" marker-end="url(#head)"/>',
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="10" fill="var(--md-primary-fg-color, teal)"/>'
        f'<text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle" font-size="11" fill="white">{number}</text>',
    )


def _edge(middle: Point, towards: Point) -> Point:
    """Where the line from the middle of a state leaves its box."""
    dx, dy = towards[0] - middle[0], towards[1] - middle[1]
    reach = min((WIDTH / 2 + 3) / max(abs(dx), 1e-9), (HEIGHT / 2 + 3) / max(abs(dy), 1e-9), 1.0)
    return middle[0] + dx * reach, middle[1] + dy * reach
