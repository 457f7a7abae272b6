"""Writes the functions that pack structures (see `fields`).

One `struct.Struct` writes each run of neighbouring scalars; what pointers point to follows behind everything in place.
"""

from __future__ import annotations

import struct as _struct
import typing

from caraway.wire.fields import Constant, CountOf, Item, Pack, Scalar, Struct, TagOf, codec
from caraway.wire.source import Source, condition


def compile_pack(cls: type[Struct]) -> Pack:
    """Make `pack(m, out, later, agreed)`: appends the structure to `out`, and its pointers to `later`."""
    return _Packer(cls).compile()


class _Packs(dict[type[Struct], Pack]):
    """From structures to the functions that pack them, each made when it is first needed."""

    def __missing__(self, kind: type[Struct]) -> Pack:
        self[kind] = made = codec(kind).pack
        return made


class _Run:
    """Neighbouring scalars, written by one `struct.Struct`, with the pointers among them."""

    def __init__(self, source: _Packer) -> None:
        self.source = source
        self.lines: list[str] = []
        self.codes: list[str] = []
        self.values: list[str] = []
        self.links: list[str] = []

    def add(self, scalar: Scalar, value: str) -> None:
        self.codes.append(scalar.code)
        self.values.append(value)

    def link(self, test: str, value: str, target: str) -> None:
        """A pointer, filled in later if there is something to point to."""
        at = _struct.calcsize("<" + "".join(self.codes))
        self.links.append(f"if {test}: later.append((at + {at}, {value}, {target}))")
        self.add(Scalar("I"), "0")

    def flush(self) -> None:
        if self.codes:
            run = _struct.Struct("<" + "".join(self.codes))
            if self.links:
                self.lines.append("at = len(out)")
            self.lines.append(f"out += {self.source.name(run.pack, 'run')}({', '.join(self.values)})")
            self.lines.extend(self.links)
        for collected in (self.codes, self.values, self.links):
            collected.clear()


class _Packer(Source):
    def __init__(self, cls: type[Struct]) -> None:
        super().__init__()
        self.items = codec(cls).items

    def compile(self) -> Pack:
        run = _Run(self)
        self.pack_items(run, self.items, "m")
        run.flush()
        made: Pack = self.function("pack(m, out, later, agreed)", run.lines or ["pass"])
        return made

    def pack_items(self, run: _Run, items: list[Item], owner: str) -> None:
        for item in items:
            value = f"{owner}.{item.name}"
            if isinstance(item.wire_only, Constant):
                run.add(item.content, self.name(item.wire_only.value, "constant"))
            elif isinstance(item.wire_only, CountOf):
                run.add(item.content, self.length(_named(items, item.wire_only.field), owner))
            elif isinstance(item.wire_only, TagOf):
                run.add(item.content, self.tag(item.wire_only.arms, f"{owner}.{item.wire_only.field}"))
            elif item.fixed:
                run.add(item.content, value)
            elif item.in_place:
                self.pack_items(run, codec(item.content).items, value)
            elif item.condition:
                run.flush()
                inner = _Run(self)
                self.pack_guarded(inner, item, items, owner)
                run.lines += [f"if {condition(item.condition, owner + '.')}:"]
                run.lines += ["    " + line for line in inner.lines]
            elif item.present:
                run.add(item.present, f"{value} is not None")
                run.flush()
                inner = _Run(self)
                self.pack_guarded(inner, item, items, owner)
                run.lines += [f"if {value} is not None:", *("    " + line for line in inner.lines)]
            else:
                self.pack_heads(run, item, items, owner)
                if not item.pointer:
                    run.flush()
                    run.lines.extend(self.pack_content(item, items, value, owner))

    def pack_heads(self, run: _Run, item: Item, items: list[Item], owner: str) -> None:
        value = f"{owner}.{item.name}"
        if item.tag:
            run.add(item.tag, self.tag(typing.cast(dict[int, type[Struct]], item.arms), value))
        if item.count:
            run.add(item.count, self.length(item, owner))
        if item.pointer:
            run.link(
                f"{value}{'' if item.repeated or item.content is bytes else ' is not None'}",
                value,
                self.target(item, items),
            )

    def pack_guarded(self, run: _Run, item: Item, items: list[Item], owner: str) -> None:
        self.pack_heads(run, item, items, owner)
        run.flush()
        if not item.pointer:
            run.lines.extend(self.pack_content(item, items, f"{owner}.{item.name}", owner))

    def length(self, item: Item, owner: str) -> str:
        value = f"{owner}.{item.name}"
        if item.content is str:
            length = f"len({value}.encode('utf-8', 'surrogateescape')) + {int(item.nul)}"
        else:
            length = f"len({value})"
        return f"({length} if {value} is not None else 0)" if item.optional else length

    def tag(self, arms: dict[int, type[Struct]], value: str) -> str:
        return f"{self.name({v: k for k, v in arms.items()}, 'tags')}[type({value})]"

    def target(self, item: Item, items: list[Item]) -> str:
        """A function that packs what a pointer points to."""
        content = self.pack_content(item, items, "value", "None", "0")
        return self.name(self.function("target(value, out, later)", content), "target")

    def pack_content(self, item: Item, items: list[Item], value: str, owner: str, agreed: str = "agreed") -> list[str]:
        if item.arms is not None:
            packs = self.name(_Packs(), "packs")
            return [f"{packs}[type({value})]({value}, out, later, {agreed})"]
        if item.repeated:
            return [
                *self.check_length(item, items, value, owner),
                f"for x in {value}: {self.pack_element(item, agreed)}",
            ]
        if item.content is str:
            return [f"out += {value}.encode('utf-8', 'surrogateescape')" + (" + b'\\0'" if item.nul else "")]
        if item.content is bytes:
            lines = []
            if item.sized:
                size = (
                    f"{self.name(item.sized.function, 'size')}({', '.join(f'{owner}.{n}' for n in item.sized.fields)})"
                )
                text = f"{item.name} has {{len({value})}} bytes, its layout {{{size}}}"
                lines.append(f"if len({value}) != {size}: raise ValueError(f{text!r})")
            return [*lines, f"out += {value}"]
        if isinstance(item.content, Scalar):
            return [f"out += {self.name(_struct.Struct('<' + item.content.code).pack, 'run')}({value})"]
        return [f"{self.name(codec(item.content).pack, 'pack')}({value}, out, later, {agreed})"]

    def pack_element(self, item: Item, agreed: str) -> str:
        if item.each:
            packs = self.name(_Packs(), "packs")
            return f"{packs}[type(x)](x, out, later, {agreed})"
        if isinstance(item.content, Scalar):
            return f"out += {self.name(_struct.Struct('<' + item.content.code).pack, 'run')}(x)"
        return f"{self.name(codec(item.content).pack, 'pack')}(x, out, later, {agreed})"

    def check_length(self, item: Item, items: list[Item], value: str, owner: str) -> list[str]:
        """Two lists may share one count: then they are of one length."""
        if not item.count_name:
            return []
        counted = typing.cast(CountOf, _named(items, item.count_name).wire_only).field
        if counted == item.name:
            return []
        text = f"{item.name} and {counted} differ in length"
        return [f"if len({value}) != {self.length(_named(items, counted), owner)}: raise ValueError({text!r})"]


def _named(items: list[Item], name: str) -> Item:
    return next(i for i in items if i.name == name)
