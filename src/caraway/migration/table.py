"""Machines as data: what a state does about a trigger, as a table that runs, can be walked and prints itself."""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from caraway.wire.messages.base import Message

S = TypeVar("S", bound=enum.Enum)
T = TypeVar("T", bound=Hashable)


@dataclass(slots=True)
class Edge(Generic[S]):
    """One reaction. Guard and action are methods of the machine that take what happened."""

    action: Callable[[Any, Any], None] | None
    next: S
    when: Callable[[Any, Any], bool] | None = None
    """Guard; of a list of edges the first whose guard holds is taken."""


Table = Mapping[tuple[S, T], Sequence[Edge[S]]]


def choose(edges: Sequence[Edge[S]], machine: object, event: object) -> Edge[S] | None:
    """The edge to take, if one of the guards holds."""
    for edge in edges:
        if edge.when is None or edge.when(machine, event):
            return edge
    return None


def diagram(table: Table[S, T], initial: S, *, loops: bool = True) -> str:
    """The table as a mermaid stateDiagram: one arrow from state to state, with every `trigger [guard] / action`.

    loops: whether to show what leaves the state as it is.
    """
    arrows: dict[tuple[S, S], list[str]] = {}
    for (state, trigger), edges in table.items():
        for edge in edges:
            if loops or edge.next is not state:
                arrows.setdefault((state, edge.next), []).append(_label(trigger, edge))
    lines = ["stateDiagram-v2", f"  [*] --> {_state(initial)}"]
    lines += [f"  {_state(a)} --> {_state(b)}: {'<br/>'.join(labels)}" for (a, b), labels in arrows.items()]
    return "\n".join(lines) + "\n"


def _label(trigger: Hashable, edge: Edge[S]) -> str:
    guard = f" [{_words(edge.when)}]" if edge.when else ""
    action = f" / {_words(edge.action)}" if edge.action else ""
    return f"{trigger_name(trigger)}{guard}{action}"


def trigger_name(trigger: Hashable) -> str:
    """How a diagram calls what happens: the wire's name of a message, the words of anything else."""
    if isinstance(trigger, type) and issubclass(trigger, Message):
        return trigger.wire_name()
    name = trigger.name.lower() if isinstance(trigger, enum.Enum) else getattr(trigger, "__name__", str(trigger))
    return name.replace("_", " ")


def _state(state: enum.Enum) -> str:
    return "".join(word.capitalize() for word in state.name.split("_"))


def _words(method: Callable[..., Any]) -> str:
    return method.__name__.strip("_").replace("_", " ")
