"""The parts of the documentation that are made when it is built."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from caraway.migration.handover import Stage
from caraway.migration.notifier import Phase
from caraway.migration.source import State as SourceState
from caraway.migration.states import State
from caraway.migration.target import State as TargetState

DOCS = Path(__file__).resolve().parents[1] / "docs"
STATES = {"session": State, "channel": Stage, "notifier": Phase, "source": SourceState, "target": TargetState}
PAGES = "migration.md", "server-migration.md"


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def diagrams() -> ModuleType:
    return hook("diagrams")


def words(state: str) -> str:
    return "".join(word.capitalize() for word in state.split("_"))


def test_pages_show_every_machine(diagrams: ModuleType) -> None:
    page = "".join((DOCS / "explanation" / name).read_text() for name in PAGES)
    assert set(re.findall(r"^<!-- machine: (\w+) -->$", page, re.M)) == set(diagrams.MACHINES) == set(STATES)
    built = diagrams.on_page_markdown(page)
    assert "<!-- machine" not in built
    assert all(diagrams.render(machine) in built for machine in diagrams.MACHINES.values())
    assert "http" not in diagrams.render(diagrams.MACHINES["session"])


@pytest.mark.parametrize("name", STATES)
def test_picture_and_table_hold_every_state_and_arrow(diagrams: ModuleType, name: str) -> None:
    machine = diagrams.MACHINES[name]
    shown = diagrams.render(machine)
    states = {words(state.name) for state in STATES[name]}
    assert set(re.findall(r'fill="currentColor">(\w+)</text>', shown)) == states == set(machine.places)
    rows = re.findall(r"^\| (\d+) \| (\w+) → (\w+) \| (.+) \|$", shown, re.M)
    everywhere = re.findall(r"^- from every state to (\w+): (.+)$", shown, re.M)
    arrows = re.findall(r"^  (\w+) --> (\w+): (.*)$", machine.text, re.M)
    labels = sum(len(label.split("<br/>")) for *_, label in arrows)
    assert sum(len(row[3].split("<br>")) for row in rows) + len(everywhere) * (len(states) - 1) == labels
    assert shown.count('marker-end="url(#head)"') == len(rows)
    assert {state for _, a, b, _ in rows for state in (a, b)} | {to for to, _ in everywhere} == states


def test_a_state_without_a_place_is_noticed(diagrams: ModuleType) -> None:
    with pytest.raises(KeyError):
        diagrams.render(diagrams.Machine("stateDiagram-v2\n  Idle --> New: begin\n", {"Idle": (0, 0)}))


def test_every_defect_is_tried_and_said() -> None:
    defects = hook("defects")
    found = defects.tests()
    assert found.keys() == defects.DEFECTS.keys()
    assert all(text for tests in found.values() for _, text in tests)
    page = defects.on_page_markdown((DOCS / "explanation" / "server-migration.md").read_text())
    assert re.findall(r"^\| (D-\w+) \|", page, re.M) == [*defects.DEFECTS]
    assert all(f"`{name}`" in page for tests in found.values() for name, _ in tests)
