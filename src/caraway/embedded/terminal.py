"""The terminal on the guest's desktop: lines that scroll, the last of which is being typed."""

from __future__ import annotations

from collections.abc import Iterable

PROMPT = "$ "
MAX_LINES = 100
MAX_PASTE = 1000
"""Characters of a text that are typed at once."""


class Terminal:
    """Lines of at most `columns` characters; `rows` of them can be seen."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.lines = [*lines, PROMPT]
        self.columns, self.rows = 80, 25

    @property
    def first(self) -> int:
        """Number of the first line that can be seen."""
        return max(0, len(self.lines) - self.rows)

    @property
    def typed(self) -> str:
        """What has been typed on the last line."""
        return self.lines[-1].removeprefix(PROMPT)

    @property
    def cursor(self) -> tuple[int, int]:
        """Column and row, among those that can be seen, of the next character."""
        return len(self.lines[-1]), len(self.lines) - 1 - self.first

    def type(self, character: str) -> bool:
        """Take a character. True: there is one line more."""
        if character == "\n":
            return self._begin(PROMPT)
        if character == "\b":
            if self.typed:
                self.lines[-1] = self.lines[-1][:-1]
            return False
        if character == "\t":
            character = " "
        if not character.isprintable():
            return False
        wraps = len(self.lines[-1]) >= self.columns
        if wraps:
            self._begin("")
        self.lines[-1] += character
        return wraps

    def _begin(self, line: str) -> bool:
        self.lines.append(line)
        del self.lines[:-MAX_LINES]
        return True

    def fit(self, columns: int, rows: int) -> None:
        """Have another size; what is longer now is cut where it is drawn."""
        self.columns, self.rows = max(columns, len(PROMPT) + 1), max(rows, 1)
