"""Writes the functions that unpack structures (see `fields`).

One `struct.Struct` reads each run of neighbouring scalars, across the borders of structures in place.
"""

from __future__ import annotations

import struct as _struct
from collections.abc import Mapping

from caraway.wire.fields import Constant, Item, LayoutError, Scalar, Struct, Unpack, codec
from caraway.wire.source import Source, condition


def compile_unpack(cls: type[Struct]) -> Unpack:
    """Make `unpack(b, p, e, agreed)`: from buffer, place, end and agreed capabilities to the structure and its end."""
    return _Unpacker(cls).compile()


def _short(offset: int, need: int, end: int) -> LayoutError:
    return LayoutError(offset, f"needs {need} bytes, {max(0, end - offset)} left")


class _Arms(dict[int, Unpack | None]):
    """From tags to the functions that unpack what they select, each made when its tag first comes."""

    def __init__(self, arms: Mapping[int, type[Struct]]) -> None:
        self.arms = arms

    def __missing__(self, tag: int) -> Unpack | None:
        if tag not in self.arms:
            return None
        self[tag] = made = codec(self.arms[tag]).unpack
        return made


class _Run:
    """Neighbouring scalars, read by one `struct.Struct`; `after` is what is done with them once they are read."""

    def __init__(self, source: _Unpacker, at: str = "p") -> None:
        self.source = source
        self.at = at
        self.lines: list[str] = []
        self.after: list[str] = []
        self.codes: list[str] = []
        self.targets: list[str] = []

    def add(self, scalar: Scalar, variable: str) -> None:
        self.codes.append(scalar.code)
        self.targets.append(variable)

    def flush(self) -> None:
        """Read what has been collected."""
        if self.codes:
            run = _struct.Struct("<" + "".join(self.codes))
            name = self.source.name(run.unpack_from, "run")
            self.lines.append(f"if {self.at} + {run.size} > e: raise short({self.at}, {run.size}, e)")
            self.lines.append(f"{', '.join(self.targets)}, = {name}(b, {self.at})")
            self.lines.append(f"{self.at} += {run.size}")
        self.lines.extend(self.after)
        for collected in (self.codes, self.targets, self.after):
            collected.clear()


class _Unpacker(Source):
    def __init__(self, cls: type[Struct]) -> None:
        super().__init__(C=cls, short=_short, LayoutError=LayoutError)
        self.items = codec(cls).items

    def compile(self) -> Unpack:
        run = _Run(self)
        self.unpack_items(run, self.items, "f_")
        run.flush()
        fields = ", ".join(f"f_{item.name}" for item in self.items if item.stored)
        made: Unpack = self.function("unpack(b, p, e, agreed)", [*run.lines, f"return C({fields}), p"])
        return made

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
                inner = codec(item.content).items
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
            test = condition(item.condition, prefix)
        else:
            test = f"s_{variable}"
            lines.append(f"if {test} > 1: raise LayoutError(p, f'{item.name}: tag {{{test}}} is not 0 or 1')")
        return [*lines, f"if {test}:", *("    " + line for line in inner.lines), f"else: {variable} = None"]

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
            arms = self.name(_Arms(item.arms), "arms")
            return [
                f"u = {arms}[{tag}]",
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
