"""Source text of a function that is being written, and the values that it refers to."""

from __future__ import annotations

from typing import Any

from caraway.wire.fields import If, IfAgreed, IfNot


class Source:
    """Collects the globals of generated functions."""

    def __init__(self, **names: Any) -> None:
        self._names = names
        self._serial = 0

    def name(self, value: Any, hint: str) -> str:
        """A global of the generated functions."""
        self._serial += 1
        made = f"{hint}{self._serial}"
        self._names[made] = value
        return made

    def function(self, signature: str, lines: list[str]) -> Any:
        """Compile a function."""
        exec("\n    ".join([f"def {signature}:", *lines]), self._names)
        return self._names[signature.partition("(")[0]]


def condition(of: If | IfNot | IfAgreed, prefix: str) -> str:
    """The expression that says whether a field is there; `prefix` stands before the names of fields."""
    match of:
        case IfAgreed(bit=bit):
            return f"agreed & {1 << bit}"
        case If(field=field, bit=bit):
            return f"{prefix}{field} & {int(bit)}"
        case IfNot(field=field, bit=bit):
            return f"not {prefix}{field} & {int(bit)}"
