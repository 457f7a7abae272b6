"""Shows this project's plain docstrings as Markdown: lines `name: meaning` become a list, `Raises ...` a paragraph."""

import re
from typing import Any

import griffe

FACT = re.compile(r"(?=[a-z])[a-z_0-9, ]+: ")


def as_markdown(text: str) -> str:
    """The docstring with Markdown's own marks for what a reader sees anyway."""
    lines: list[str] = []
    is_fact = False
    for line in text.splitlines():
        names, _, meaning = line.partition(": ")
        if FACT.match(line) and all(name.isidentifier() for name in names.split(", ")):
            lines += [] if is_fact else [""]
            marked = ", ".join(f"`{name}`" for name in names.split(", "))
            lines.append(f"- {marked}: {meaning}")
            is_fact = True
        else:
            lines += [""] if (is_fact and not line.startswith(" ")) or line.startswith(("Raises", "Returns")) else []
            lines.append(line)
            is_fact = is_fact and line.startswith(" ")
    return "\n".join(lines)


class PlainDocstrings(griffe.Extension):
    """Rewrites every docstring once."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for each object that it has read."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
