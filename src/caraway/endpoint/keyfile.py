"""The key-file syntax of `.vv` files: groups, `key=value`, backslash escapes, `;` lists (spec/wire.md 15).

It is GLib's, which `configparser` cannot read faithfully: indented lines do not continue a value, trailing blanks
belong to it, and escapes have meanings. Errors name line or key, never the value, which may be a secret.
"""

import re
from collections.abc import Mapping

from caraway.errors import EndpointError

_GROUP = re.compile(r"\[([^\[\]]+)\]\s*")
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_LIST_ITEM = re.compile(r"((?:[^\\;]|\\.|\\$)*)(;|$)", re.DOTALL)
_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,10})\s*")
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}
_ESCAPED = {"s": " ", "n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


class Group:
    """One group of a key file, read key by key. A key that is absent or empty gives None (an empty tuple for lists)."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, key: str) -> str | None:
        """The value as text. Raises EndpointError on an unknown escape."""
        raw = self._values.get(key)
        return _unescape(key, raw, _ESCAPED) if raw else None

    def items(self, key: str) -> tuple[str, ...]:
        r"""The value as a list of stripped items without the empty ones; `\;` is a semicolon in an item."""
        escapes = {**_ESCAPED, ";": ";"}
        raw = (_unescape(key, match[1], escapes).strip() for match in _LIST_ITEM.finditer(self._values.get(key, "")))
        return tuple(item for item in raw if item)

    def boolean(self, key: str) -> bool | None:
        """1, 0, true or false. Raises EndpointError on anything else."""
        raw = self._values.get(key, "").strip()
        if raw and raw not in _BOOLEANS:
            raise EndpointError(f".vv file: {key} must be 1, 0, true or false")
        return _BOOLEANS.get(raw)

    def integer(self, key: str) -> int | None:
        """A decimal number. Raises EndpointError on anything else."""
        raw = self._values.get(key, "")
        match = _INTEGER.fullmatch(raw)
        if match:
            return int(match[1])
        if raw.strip():
            raise EndpointError(f".vv file: {key} must be a whole number of at most ten digits")
        return None


def parse_keyfile(text: str) -> dict[str, Group]:
    """Split a key file into its groups. The last value of a key counts, groups of one name are one.

    Raises EndpointError naming the line that is neither a group, nor a `key=value`, nor a `#` comment.
    """
    groups: dict[str, dict[str, str]] = {}
    current: dict[str, str] | None = None
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.removesuffix("\r").lstrip()
        if not line or line.startswith("#"):
            continue
        if header := _GROUP.fullmatch(line):
            current = groups.setdefault(header[1], {})
            continue
        key, equals, value = line.partition("=")
        key = key.rstrip()
        if not equals or not key:
            raise EndpointError(f".vv file, line {number}: neither a [group], nor key=value, nor a # comment")
        if current is None:
            raise EndpointError(f".vv file, line {number}: {key!r} comes before the first [group]")
        current[key] = value.lstrip()
    return {name: Group(values) for name, values in groups.items()}


def _unescape(key: str, raw: str, escapes: Mapping[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[1] not in escapes:
            raise EndpointError(f".vv file: {key} holds an unknown escape: a backslash is written \\\\")
        return escapes[match[1]]

    return _ESCAPE.sub(replace, raw)
