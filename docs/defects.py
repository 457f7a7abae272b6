"""Draws the tests of defects into a page: `<!-- defects -->` becomes a table of what is marked `pytest.mark.defect`."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "tests"

DEFECTS = {
    "D-02": "Dropping a viewer that has half arrived stops the guest for 10 s.",
    "D-03": "Stopping the guest waits up to 30 s for a viewer that does not read.",
    "D-04": "That a viewer agreed to go on seamless outlives the migration and the viewer.",
    "D-06": "The target shows a placeholder, and its surfaces are made again, before the guest is loaded.",
    "D-07": "A paused guest is not painted.",
    "D-09": "An answer to one announcement counts for the next: the viewer ends on the wrong host.",
    "D-10b": "Messages of an authenticated client end the whole QEMU.",
    "D-10c": "The source ends when the guest's agent is between two parts of a message.",
    "D-13": "A migration that was called off is reported as completed when there is no viewer.",
    "D-14": "The guest's agent gets out of step when a viewer leaves in the middle of a message.",
    "D-15": "A channel that the target lacks is closed without an answer, and the whole link fails.",
    "D-16": "Whoever names any session id is an arrival; a second link ends the first viewer's session.",
    "D-20": "Modes of mouse and locks are not told again.",
    "D-21": "What was known of a slow link is lost.",
    "D-22": "The state of a display channel does not say how it is to be read.",
    "D-23": "Links of an arrival that was dropped stay open; an arrival has no deadline.",
    "D-24": "Keys are made while the guest waits, one link after the other.",
    "D-25": "A viewer that comes after the guest has left gets a dead picture.",
}
"""What deployed stacks were measured to do."""


def marked(path: Path) -> Iterator[tuple[str, str, str]]:
    """Row, name and first line of the docstring of each test of a file that is marked."""
    for test in ast.walk(ast.parse(path.read_text())):
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
            for mark in test.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.defect":
                    yield ast.literal_eval(mark.args[0]), test.name, (ast.get_docstring(test) or "").partition("\n")[0]


def tests() -> dict[str, list[tuple[str, str]]]:
    """By row, name and docstring of its tests."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for row, name, text in marked(path):
            found.setdefault(row, []).append((f"{path.relative_to(TESTS)}::{name}", text))
    return found


def table() -> str:
    """In Markdown."""
    lines = ["| Row | Deployed stacks | Here | Tests |", "|---|---|---|---|"]
    found = tests()
    for row, text in DEFECTS.items():
        here = " ".join(dict.fromkeys(said for _, said in found[row]))
        names = "<br>".join(f"`{name}`" for name, _ in found[row])
        lines.append(f"| {row} | {text} | {here} | {names} |")
    return "\n".join(lines)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page."""
    return markdown.replace("<!-- defects -->", table()) if "<!-- defects -->" in markdown else markdown
