"""Hypothesis strategies for every structure, derived from its layout."""

from __future__ import annotations

import enum
import functools
from typing import Any

from hypothesis import strategies as st

from caraway.wire.fields import If, IfAgreed, IfNot, Item, Scalar, Struct, layout

_layout = functools.cache(layout)

MAX_LIST = 4
MAX_BYTES = 24
MAX_FACTOR = 6
"""Largest number that goes into the size of something."""


@functools.cache
def structs(cls: type[Struct], agreed: int = 0) -> st.SearchStrategy[Any]:
    """Values of a structure that its layout can carry, with these agreed capabilities.

    Fields that are not on the wire are None, so that a value equals what is unpacked from its bytes.
    """

    @st.composite
    def build(draw: st.DrawFn) -> Struct:
        items = _layout(cls)
        factors = {name for item in items if item.sized for name in item.sized.fields}
        selectors = {item.each.field: list(item.each.arms) for item in items if item.each}
        values: dict[str, Any] = {}
        counts: dict[str, int] = {}
        for item in items:
            if not item.stored:
                continue
            if item.name in factors:
                value = draw(st.integers(0, MAX_FACTOR))
            elif item.name in selectors:
                value = item.members[draw(numbers(item)) | draw(st.sampled_from(selectors[item.name]))]
            else:
                value = _field(draw, item, values, counts.get(item.count_name or ""), agreed)
            values[item.name] = value
            if item.count_name and value is not None:
                counts[item.count_name] = len(value)
        return cls(**values)

    return build()


@functools.cache
def scalars(scalar: Scalar) -> st.SearchStrategy[Any]:
    """Values of one `struct` code."""
    if scalar.code.endswith("s"):
        return st.binary(min_size=scalar.size, max_size=scalar.size)
    bits = 8 * scalar.size
    if scalar.code.isupper():
        return st.integers(0, (1 << bits) - 1)
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)


def numbers(item: Item) -> st.SearchStrategy[Any]:
    """Values of a number: members of its enumeration, or any number that it does not know."""
    plain = scalars(item.content)
    if item.values is None:
        return plain
    if item.values is bool:
        return st.booleans()
    members, known = item.members, list(map(int, item.values))  # type: ignore[call-overload]
    if issubclass(item.values, enum.IntFlag):
        return (st.sets(st.sampled_from(known)).map(sum) | plain).map(lambda number: members[number])
    return (st.sampled_from(known) | plain).map(lambda number: members[number])


@functools.cache
def texts() -> st.SearchStrategy[str]:
    """Text without NUL. Bytes that are not UTF-8 are carried as surrogates."""
    raw = st.binary(max_size=MAX_BYTES).map(lambda b: b.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
    return st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8) | raw


def _field(draw: st.DrawFn, item: Item, values: dict[str, Any], size: int | None, agreed: int) -> Any:
    match item.condition:
        case If(field=name, bit=bit) if not values[name] & bit:
            return None
        case IfNot(field=name, bit=bit) if values[name] & bit:
            return None
        case IfAgreed(bit=bit) if not agreed >> bit & 1:
            return None
    if item.optional and (item.present or item.pointer) and draw(st.booleans()):
        return None
    if item.arms is not None:
        return draw(st.one_of([structs(arm, agreed) for arm in item.arms.values()]))
    if item.repeated:
        least = 1 if item.optional and item.pointer else 0
        element = _elements(item, values, agreed)
        return draw(
            st.lists(element, min_size=least if size is None else size, max_size=MAX_LIST if size is None else size)
        )
    if item.content is bytes:
        if item.sized:
            size = item.sized.function(*(values[name] for name in item.sized.fields))
        return draw(st.binary(max_size=MAX_BYTES) if size is None else st.binary(min_size=size, max_size=size))
    if item.content is str:
        return draw(texts())
    if isinstance(item.content, Scalar):
        return draw(numbers(item))
    return draw(structs(item.content, agreed))


def _elements(item: Item, values: dict[str, Any], agreed: int) -> st.SearchStrategy[Any]:
    if item.each:
        flags = values[item.each.field]
        return structs(next(arm for bit, arm in item.each.arms.items() if flags & bit), agreed)
    if isinstance(item.content, Scalar):
        return numbers(item)
    return structs(item.content, agreed)
