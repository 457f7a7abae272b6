"""Compiles layouts: from annotations (see `fields`) to functions that pack and unpack.

One `struct.Struct` reads or writes each run of neighbouring scalars, across the borders of structures in place. The
functions are made when a structure is first packed or unpacked.
"""

from __future__ import annotations

import struct as _struct
import typing
from typing import Any

from caraway.wire.fields import (
    Codec,
    Constant,
    CountOf,
    If,
    IfAgreed,
    IfNot,
    Item,
    LayoutError,
    Scalar,
    Struct,
    TagOf,
    codec,
    layout,
)


def _short(offset: int, need: int, end: int) -> LayoutError:
    return LayoutError(offset, f"needs {need} bytes, {max(0, end - offset)} left")


def compile_layout(cls: type[Struct]) -> Codec:
    """Make the functions that pack and unpack a structure."""
    return _Compiler(cls).compile()


class _Run:
    """Neighbouring scalars, read by one `struct.Struct`; `after` is what is done with them once they are read."""

    def __init__(self, compiler: _Compiler, at: str = "p") -> None:
        self.compiler = compiler
        self.at = at
        self.lines: list[str] = []
        self.after: list[str] = []
        self.codes: list[str] = []
        self.targets: list[str] = []
        self.size = 0

    def add(self, scalar: Scalar, variable: str) -> None:
        self.codes.append(scalar.code)
        self.targets.append(variable)

    def flush(self) -> None:
        """Read what has been collected."""
        if self.codes:
            run = _struct.Struct("<" + "".join(self.codes))
            name = self.compiler.name(run.unpack_from, "run")
            self.lines.append(f"if {self.at} + {run.size} > e: raise short({self.at}, {run.size}, e)")
            self.lines.append(f"{', '.join(self.targets)}, = {name}(b, {self.at})")
            self.lines.append(f"{self.at} += {run.size}")
            self.size += run.size
        self.lines.extend(self.after)
        for collected in (self.codes, self.targets, self.after):
            collected.clear()


class _Compiler:
    """Writes the source of one structure's `unpack(b, p, e, agreed)` and `pack(m, out, later, agreed)`."""

    def __init__(self, cls: type[Struct]) -> None:
        self.cls = cls
        self.items = layout(cls)
        self.names: dict[str, Any] = {"C": cls, "short": _short, "LayoutError": LayoutError, "len": len, "list": list}
        self.minimum = 0
        self.serial = 0

    def name(self, value: Any, hint: str) -> str:
        """A global of the generated functions."""
        self.serial += 1
        made = f"{hint}{self.serial}"
        self.names[made] = value
        return made

    def compile(self) -> Codec:
        unpack = ["def unpack(b, p, e, agreed):", *self.unpack_lines()]
        pack = ["def pack(m, out, later, agreed):", *self.pack_lines()]
        exec("\n".join(unpack + pack), self.names)
        return Codec(self.names["unpack"], self.names["pack"], self.minimum, self.flat())

    def flat(self) -> _struct.Struct | None:
        codes = ""
        for item in self.items:
            if not (item.fixed and item.stored and item.values is None):
                return None
            codes += item.content.code
        return _struct.Struct("<" + codes)

    # -- unpacking

    def unpack_lines(self) -> list[str]:
        run = _Run(self)
        self.unpack_items(run, self.items, "f_")
        run.flush()
        self.minimum += run.size
        run.lines.append(f"return C({', '.join(f'f_{i.name}' for i in self.items if i.stored)}), p")
        return ["    " + line for line in run.lines]

    def unpack_items(self, run: _Run, items: list[Item], prefix: str) -> None:
        """Read the entries of one structure; structures in place join the run of the one around them."""
        for item in items:
            variable = prefix + item.name
            if isinstance(item.wire_only, Constant):
                run.add(item.content, variable)
                value = self.name(item.wire_only.value, "constant")
                run.after.append(f"if {variable} != {value}: raise LayoutError(p, {f'{item.name} is not right'!r})")
            elif item.fixed:
                run.add(item.content, variable)
                run.after.extend(self.convert(item, variable))
            elif item.in_place:
                inner = layout(item.content)
                self.unpack_items(run, inner, f"{variable}_")
                parts = ", ".join(f"{variable}_{i.name}" for i in inner if i.stored)
                run.after.append(f"{variable} = {self.name(item.content, 'Type')}({parts})")
            elif item.condition:
                run.flush()
                run.lines.extend(self.unpack_guarded(item, variable, prefix))
            elif item.present:
                run.add(item.present, f"s_{variable}")
                run.flush()
                run.lines.extend(self.unpack_guarded(item, variable, prefix))
            else:
                for scalar, head in self.heads(item, variable):
                    run.add(scalar, head)
                if item.pointer:
                    run.after.extend(self.unpack_body(item, variable, prefix))
                else:
                    run.flush()
                    run.lines.extend(self.unpack_body(item, variable, prefix))

    def convert(self, item: Item, variable: str) -> list[str]:
        """From a number to what it stands for."""
        if item.values is bool:
            return [f"{variable} = {variable} != 0"]
        if item.values is not None:
            return [f"{variable} = {self.name(item.members, 'members')}[{variable}]"]
        return []

    @staticmethod
    def heads(item: Item, variable: str) -> list[tuple[Scalar, str]]:
        """Numbers that stand in place before the contents: tag, count, pointer."""
        heads = []
        if item.tag:
            heads.append((item.tag, f"t_{variable}"))
        if item.count:
            heads.append((item.count, f"n_{variable}"))
        if item.pointer:
            heads.append((Scalar("I"), f"q_{variable}"))
        return heads

    def unpack_guarded(self, item: Item, variable: str, prefix: str) -> list[str]:
        """A field behind a condition, or behind a presence tag that has been read."""
        inner = _Run(self)
        for scalar, head in self.heads(item, variable):
            inner.add(scalar, head)
        inner.flush()
        inner.lines.extend(self.unpack_body(item, variable, prefix))
        lines = []
        if item.condition:
            condition = self.condition(item.condition, prefix)
        else:
            condition = f"s_{variable}"
            lines.append(f"if {condition} > 1: raise LayoutError(p, f'{item.name}: tag {{{condition}}} is not 0 or 1')")
        return [*lines, f"if {condition}:", *("    " + line for line in inner.lines), f"else: {variable} = None"]

    def condition(self, condition: If | IfNot | IfAgreed, prefix: str) -> str:
        match condition:
            case IfAgreed(bit=bit):
                return f"agreed & {1 << bit}"
            case If(field=field, bit=bit):
                return f"{prefix}{field} & {int(bit)}"
            case IfNot(field=field, bit=bit):
                return f"not {prefix}{field} & {int(bit)}"

    def unpack_body(self, item: Item, variable: str, prefix: str) -> list[str]:
        """The contents, once tag, count and pointer are read; through the pointer if there is one."""
        if not item.pointer:
            return self.unpack_content(item, variable, prefix, "p")
        pointer = f"q_{variable}"
        lines = [f"if {pointer}:"]
        lines.extend("    " + line for line in self.unpack_content(item, variable, prefix, pointer))
        if item.optional:
            lines.append(f"else: {variable} = None")
        elif item.repeated or item.content is bytes:
            if item.count or item.count_name:
                count = self.count(item, variable, prefix)
                lines.append(f"elif {count}: raise LayoutError(p, f'null pointer to {{{count}}} of {item.name}')")
            lines.append(f"else: {variable} = {'[]' if item.repeated else repr(b'')}")
        else:
            lines.append(f"else: raise LayoutError(p, 'null pointer to {item.name}')")
        return lines

    @staticmethod
    def count(item: Item, variable: str, prefix: str) -> str:
        return f"n_{variable}" if item.count else f"{prefix}{item.count_name}"

    def unpack_content(self, item: Item, variable: str, prefix: str, at: str) -> list[str]:
        if item.arms is not None:
            tag = f"t_{variable}" if item.tag else f"{prefix}{item.tag_name}"
            arms = self.name({k: codec(v).unpack for k, v in item.arms.items()}, "arms")
            return [
                f"u = {arms}.get({tag})",
                f"if u is None: raise LayoutError({at}, f'{item.name} of unknown type {{{tag}}}')",
                f"{variable}, {at} = u(b, {at}, e, agreed)",
            ]
        if item.repeated:
            return self.unpack_list(item, variable, prefix, at)
        if item.content in (bytes, str):
            return self.unpack_bytes(item, variable, prefix, at)
        return self.unpack_one(item, variable, at)

    def unpack_one(self, item: Item, variable: str, at: str) -> list[str]:
        """One scalar or structure."""
        if isinstance(item.content, Scalar):
            run = _Run(self, at)
            run.add(item.content, variable)
            run.after.extend(self.convert(item, variable))
            run.flush()
            return run.lines
        return [f"{variable}, {at} = {self.name(codec(item.content).unpack, 'unpack')}(b, {at}, e, agreed)"]

    def unpack_bytes(self, item: Item, variable: str, prefix: str, at: str) -> list[str]:
        if item.rest:
            size = f"e - {at}"
        elif item.sized:
            arguments = ", ".join(prefix + n for n in item.sized.fields)
            size = f"{self.name(item.sized.function, 'size')}({arguments})"
        else:
            size = self.count(item, variable, prefix)
        lines = [
            f"z = {at} + {size}",
            f"if z > e or z < {at}: raise short({at}, z - {at}, e)",
            f"{variable} = b[{at}:z]",
            f"{at} = z",
        ]
        if item.content is str:
            lines.append(f"{variable} = bytes({variable}).decode('utf-8', 'surrogateescape')")
            if item.nul:
                lines.append(f"{variable} = {variable}.partition('\\0')[0]")
        return lines

    def unpack_list(self, item: Item, variable: str, prefix: str, at: str) -> list[str]:
        lines: list[str] = []
        flat: _struct.Struct | None = None
        make = "x[0]"
        if item.each:
            arms = [(bit, codec(arm)) for bit, arm in item.each.arms.items()]
            choices = "".join(
                f"{self.name(c.unpack, 'unpack')} if {prefix}{item.each.field} & {b} else " for b, c in arms
            )
            lines.append(f"u = {choices} None")
            lines.append(f"if u is None: raise LayoutError({at}, '{item.each.field} selects no kind of {item.name}')")
            minimum = min(c.minimum for _, c in arms)
            element = [f"x, {at} = u(b, {at}, e, agreed)"]
        else:
            if isinstance(item.content, Scalar):
                minimum = item.content.size
                if item.values is None:
                    flat = _struct.Struct("<" + item.content.code)
            else:
                inner = codec(item.content)
                flat, minimum, make = inner.flat, inner.minimum, f"{self.name(item.content, 'Type')}(*x)"
            element = self.unpack_one(item, "x", at)
        loop = "for _ in range(n):"
        if item.rest and not (flat or isinstance(item.content, Scalar)):
            loop = f"while {at} < e:"
            reason = f"'more than {item.limit} {item.name}'"
            element.insert(0, f"if len({variable}) == {item.limit}: raise LayoutError({at}, {reason})")
        else:
            count = f"(e - {at}) // {minimum}" if item.rest else self.count(item, variable, prefix)
            lines.append(f"n = {count}")
            lines.append(f"if n > {item.limit}: raise LayoutError({at}, f'{{n}} {item.name}, limit {item.limit}')")
            lines.append(f"if {at} + n * {minimum} > e: raise short({at}, n * {minimum}, e)")
        if flat:
            iterate = self.name(flat.iter_unpack, "iterate")
            lines.append(f"{variable} = [{make} for x in {iterate}(b[{at}:{at} + n * {flat.size}])]")
            lines.append(f"{at} += n * {flat.size}")
        else:
            lines += [f"{variable} = []", loop, *("    " + line for line in element), f"    {variable}.append(x)"]
        return lines

    # -- packing

    def pack_lines(self) -> list[str]:
        run = _PackRun(self)
        self.pack_items(run, self.items, "m")
        run.flush()
        return ["    " + line for line in run.lines or ["pass"]]

    def pack_items(self, run: _PackRun, items: list[Item], owner: str) -> None:
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
                self.pack_items(run, layout(item.content), value)
            elif item.condition:
                run.flush()
                inner = _PackRun(self)
                self.pack_guarded(inner, item, items, owner)
                run.lines += [f"if {self.condition(item.condition, owner + '.')}:"]
                run.lines += ["    " + line for line in inner.lines]
            elif item.present:
                run.add(item.present, f"{value} is not None")
                run.flush()
                inner = _PackRun(self)
                self.pack_guarded(inner, item, items, owner)
                run.lines += [f"if {value} is not None:", *("    " + line for line in inner.lines)]
            else:
                self.pack_heads(run, item, items, owner)
                if not item.pointer:
                    run.flush()
                    run.lines.extend(self.pack_content(item, items, value, owner))

    def pack_heads(self, run: _PackRun, item: Item, items: list[Item], owner: str) -> None:
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

    def pack_guarded(self, run: _PackRun, item: Item, items: list[Item], owner: str) -> None:
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
        exec("\n    ".join(["def target(value, out, later):", *content]), self.names)
        return self.name(self.names.pop("target"), "target")

    def pack_content(self, item: Item, items: list[Item], value: str, owner: str, agreed: str = "agreed") -> list[str]:
        if item.arms is not None:
            packs = self.name({v: codec(v).pack for v in item.arms.values()}, "packs")
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
            packs = self.name({arm: codec(arm).pack for arm in item.each.arms.values()}, "packs")
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


class _PackRun:
    """Neighbouring scalars, written by one `struct.Struct`, with the pointers among them."""

    def __init__(self, compiler: _Compiler) -> None:
        self.compiler = compiler
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
            self.lines.append(f"out += {self.compiler.name(run.pack, 'run')}({', '.join(self.values)})")
            self.lines.extend(self.links)
        for collected in (self.codes, self.values, self.links):
            collected.clear()
