"""Declarative layouts: a structure's annotations *are* its bytes (spec/wire.md 5.3).

A structure is a class with annotated fields, decorated with `@struct` (or, for messages, `@message`). Fields come in the
order of the wire, packed, little-endian. Packers and bounds-checked unpackers are compiled on first use, with one
`struct.Struct` for each run of fields of fixed size.

| annotation | bytes |
|---|---|
| `U8` ... `I64`, `Bool8`, `Bool32` | the number |
| `Annotated[SomeEnum, U16]` | the number; a value that the enumeration does not know stays a plain int |
| `SomeStruct` | the structure in place |
| `Annotated[bytes, Length(16)]` | that many bytes |
| `Annotated[bytes, Counted(U32)]`, `Annotated[list[Rect], Counted(U32)]` | a count, then bytes or elements |
| `Annotated[str, Counted(U32), Nul]` | UTF-8 with a NUL at its end, which the count includes |
| `Annotated[bytes, CountedBy("name")]` | bytes or elements whose count is the `CountOf` named so |
| `Annotated[bytes, Sized(function, "a", "b")]` | `function(a, b)` bytes |
| `Annotated[bytes, Rest]`, also of lists and text | up to the end of the body |
| `Annotated[Image, Pointer]` | u32 offset from the start of the body, contents further back; 0 is None or empty |
| `Annotated[U, If("flags", BIT)]`, `IfNot` | only if that earlier field has (has not) the bit |
| `Annotated[U, IfAgreed(BIT)]` | only if both sides have that capability (given to `unpack` and `pack`) |
| `Annotated[list[Rect] or None, Present(U8), Counted(U32)]` | u8 1 and the value, or u8 0 for None |
| `Annotated[A or B, Tagged(U8, {0: A, 1: B})]` | a tag, then the structure that it selects |
| `Annotated[A or B, TaggedBy("name")]` | the structure that the `TagOf` named so selects |
| `Annotated[list[A] or list[B], EachBy("flags", {1: A, 2: B}), ...]` | elements of the structure that a bit selects |
| `name: ClassVar = CountOf("field", U16)` | a count that stands apart from what it counts |
| `name: ClassVar = TagOf("field", U8, {...})` | a tag that stands apart from its structure |
| `name: ClassVar = Constant(b"...")` | these bytes |

Instances are immutable by convention only: freezing costs seven times more to create.
"""

from __future__ import annotations

import enum
import inspect
import struct as _struct
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, TypeVar, dataclass_transform

from caraway.wire.limits import MAX_ELEMENTS

Buffer = bytes | bytearray | memoryview


class LayoutError(ValueError):
    """Bytes that do not fit their layout: `offset` is where in the body. Becomes a ProtocolError at the channel's edge."""

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(f"at byte {offset}: {text}")
        self.offset = offset
        self.text = text


# ---- the vocabulary of annotations


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value that one `struct` code packs."""

    code: str

    @property
    def size(self) -> int:
        return _struct.calcsize("<" + self.code)


def Length(size: int) -> Scalar:
    """Bytes of a fixed number."""
    return Scalar(f"{size}s")


U8 = Annotated[int, Scalar("B")]
U16 = Annotated[int, Scalar("H")]
U32 = Annotated[int, Scalar("I")]
U64 = Annotated[int, Scalar("Q")]
I16 = Annotated[int, Scalar("h")]
I32 = Annotated[int, Scalar("i")]
I64 = Annotated[int, Scalar("q")]
Bool8 = Annotated[bool, Scalar("B")]
Bool32 = Annotated[bool, Scalar("I")]


class _Mark(enum.Enum):
    POINTER = enum.auto()
    REST = enum.auto()
    NUL = enum.auto()


Pointer = _Mark.POINTER
Rest = _Mark.REST
Nul = _Mark.NUL


@dataclass(frozen=True, slots=True)
class Counted:
    """A count of this type stands right before the contents (before the pointer, if there is one)."""

    type: Any
    limit: int = MAX_ELEMENTS


@dataclass(frozen=True, slots=True)
class CountedBy:
    """The count is the earlier `CountOf` of this name."""

    name: str
    limit: int = MAX_ELEMENTS


@dataclass(frozen=True, slots=True)
class CountOf:
    """A count on the wire that is the length of a later field."""

    field: str
    type: Any


@dataclass(frozen=True, slots=True)
class Constant:
    """Bytes that are always the same."""

    value: bytes


class Sized:
    """The number of bytes follows from earlier fields."""

    def __init__(self, function: Callable[..., int], *fields: str) -> None:
        self.function = function
        self.fields = fields


@dataclass(frozen=True, slots=True)
class If:
    """There only if an earlier field has this bit."""

    field: str
    bit: int


@dataclass(frozen=True, slots=True)
class IfNot:
    """There only if an earlier field does not have this bit."""

    field: str
    bit: int


@dataclass(frozen=True, slots=True)
class IfAgreed:
    """There only if both sides announced the capability of this number."""

    bit: int


@dataclass(frozen=True, slots=True)
class Present:
    """A tag of this type says whether the value follows: 1, or 0 for None."""

    type: Any


class EachBy:
    """The structure of all elements of a list is selected by a bit of an earlier field."""

    def __init__(self, field: str, arms: Mapping[int, type[Struct]]) -> None:
        self.field = field
        self.arms = {int(bit): arm for bit, arm in arms.items()}


class Tagged:
    """A tag of this type selects the structure that follows it."""

    def __init__(self, type: Any, arms: Mapping[int, type[Struct]]) -> None:
        self.type = type
        self.arms = dict(arms)


class TagOf(Tagged):
    """A tag on the wire that selects the structure of a later field."""

    def __init__(self, field: str, type: Any, arms: Mapping[int, type[Struct]]) -> None:
        super().__init__(type, arms)
        self.field = field


@dataclass(frozen=True, slots=True)
class TaggedBy:
    """The structure is selected by the earlier `TagOf` of this name."""

    name: str


# ---- structures

class Struct:
    """Base of everything that has a layout."""

    __slots__ = ()
    fields: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def unpack(cls, body: Buffer, agreed: int = 0) -> typing.Self:
        """Read one from the start of `body`; bytes behind it are ignored.

        agreed: capabilities that both sides have, as a bit mask, for layouts that depend on them.
        Raises LayoutError.
        """
        return typing.cast(typing.Self, codec(cls).unpack(body, 0, len(body), agreed)[0])

    def pack(self, agreed: int = 0) -> bytes:
        """The bytes of this structure and all it points to. Raises ValueError if a value does not fit its field."""
        out = bytearray()
        later: Later = []
        try:
            codec(type(self)).pack(self, out, later, agreed)
            _pack_targets(out, later)
        except _struct.error as error:
            raise ValueError(f"{type(self).__name__}: {error}") from None
        return bytes(out)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.fields)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={_shorten(getattr(self, n))}' for n in self.fields)})"


def _shorten(value: object) -> str:
    if isinstance(value, Buffer) and len(value) > 32:
        return f"<{len(value)} bytes>"
    return repr(bytes(value)) if isinstance(value, memoryview) else repr(value)


C = TypeVar("C", bound=type[Struct])


@dataclass_transform(eq_default=False)
def struct(cls: C) -> C:
    """Make a class with annotated fields a structure."""
    made = dataclass(slots=True, eq=False, repr=False, match_args=False)(cls)
    made.fields = tuple(field.name for field in fields(made))
    return made


# ---- layouts: annotations, understood


@dataclass(slots=True)
class Item:
    """One entry of a layout: a field, or something on the wire only (`name` is its ClassVar then)."""

    name: str
    stored: bool
    content: Any = None
    """Scalar, Struct class, `bytes` or `str`; of the elements if `repeated`. None for wire-only entries."""
    convert: Callable[[int], Any] | None = None
    values: type | None = None
    """The Enum or bool behind a number."""
    repeated: bool = False
    optional: bool = False
    condition: If | IfNot | IfAgreed | None = None
    present: Scalar | None = None
    count: Scalar | None = None
    count_name: str | None = None
    limit: int = MAX_ELEMENTS
    sized: Sized | None = None
    rest: bool = False
    nul: bool = False
    pointer: bool = False
    tag: Scalar | None = None
    tag_name: str | None = None
    arms: dict[int, type[Struct]] | None = None
    each: EachBy | None = None
    wire_only: CountOf | TagOf | Constant | None = None

    @property
    def fixed(self) -> bool:
        """Whether the entry in place is a plain run of scalars."""
        return (
            isinstance(self.content, Scalar)
            and not (self.repeated or self.condition or self.present or self.pointer)
            or isinstance(self.wire_only, CountOf | TagOf)
        )


class _Members(dict[int, Any]):
    """From numbers to enumeration members; numbers that it does not know stay what they are.

    An IntFlag remembers every combination it was asked for, so it is asked only for those of known bits.
    """

    def __init__(self, values: type[enum.IntEnum] | type[enum.IntFlag]) -> None:
        super().__init__({int(v): v for v in values})
        self.values_type = values
        self.known = 0
        if issubclass(values, enum.IntFlag):
            for member in values:
                self.known |= int(member)

    def __missing__(self, number: int) -> Any:
        if issubclass(self.values_type, enum.IntFlag) and not number & ~self.known:
            self[number] = member = self.values_type(number)
            return member
        return number


def scalar_of(annotation: Any) -> Scalar:
    """The Scalar behind `U32` and the like."""
    if isinstance(annotation, Scalar):
        return annotation
    found: Scalar = annotation.__metadata__[0]
    return found


def _item(name: str, annotation: Any, hidden: dict[str, Item]) -> Item:
    item = Item(name, stored=True)
    base = annotation
    if typing.get_origin(annotation) is Annotated:
        base, *marks = typing.get_args(annotation)
        for mark in marks:
            _apply(item, mark, hidden)
    options = typing.get_args(base) if typing.get_origin(base) in (typing.Union, types.UnionType) else (base,)
    if set(options) == set(typing.get_args(Buffer)):
        options = (bytes,)
    item.optional = type(None) in options
    options = tuple(o for o in options if o is not type(None))
    base = options[0]
    if item.arms is not None:
        return item
    if typing.get_origin(base) is list:
        item.repeated = True
        if item.each:
            return item
        element = _item(name, typing.get_args(base)[0], hidden)
        item.content, item.convert, item.values = element.content, element.convert, element.values
        return item
    if typing.get_origin(base) is Annotated:
        inner = _item(name, base, hidden)
        item.content, item.convert, item.values = inner.content, inner.convert, inner.values
    elif isinstance(base, type) and issubclass(base, enum.Enum):
        item.values = base
        item.convert = _Members(base).__getitem__  # type: ignore[arg-type]
    elif base is bool:
        item.values, item.convert = bool, bool
    elif item.content is None:
        item.content = base
    return item


def _apply(item: Item, mark: Any, hidden: dict[str, Item]) -> None:
    match mark:
        case Scalar():
            item.content = mark
        case _ if typing.get_origin(mark) is Annotated:
            item.content = scalar_of(mark)
        case Counted(type=kind, limit=limit):
            item.count, item.limit = scalar_of(kind), limit
        case CountedBy(name=name, limit=limit):
            item.count_name, item.limit = name, limit
        case Sized():
            item.sized = mark
        case If() | IfNot() | IfAgreed():
            item.condition = mark
        case Present(type=kind):
            item.present = scalar_of(kind)
        case EachBy():
            item.each = mark
        case TaggedBy(name=name):
            item.tag_name = name
            item.arms = typing.cast(TagOf, hidden[name].wire_only).arms
        case Tagged():
            item.tag, item.arms = scalar_of(mark.type), mark.arms
        case _Mark.POINTER:
            item.pointer = True
        case _Mark.REST:
            item.rest = True
        case _Mark.NUL:
            item.nul = True
        case _:
            raise TypeError(f"{item.name}: {mark!r} says nothing about a layout")


def layout(cls: type[Struct]) -> list[Item]:
    """The entries of a structure in the order of the wire."""
    items: list[Item] = []
    hidden: dict[str, Item] = {}
    for owner in reversed(cls.__mro__):
        for name, annotation in inspect.get_annotations(owner, eval_str=True).items():
            if typing.get_origin(annotation) is ClassVar or annotation is ClassVar:
                mark = owner.__dict__.get(name)
                if isinstance(mark, CountOf | TagOf):
                    items.append(Item(name, False, content=scalar_of(mark.type), wire_only=mark))
                    hidden[name] = items[-1]
                elif isinstance(mark, Constant):
                    items.append(Item(name, False, content=Length(len(mark.value)), wire_only=mark))
            else:
                items.append(_item(name, annotation, hidden))
    return items



# ---- the compiler

Unpack = Callable[[Buffer, int, int, int], tuple[Any, int]]
Pack = Callable[[Any, bytearray, "Later", int], None]
Later = list[tuple[int, Any, Callable[[Any, bytearray, "Later"], None]]]
"""Pointers to fill in: where, what they point to, and how to pack that."""


@dataclass(slots=True)
class Codec:
    """The compiled layout of one structure."""

    unpack: Unpack
    pack: Pack
    minimum: int
    """Bytes that it takes at least."""
    flat: _struct.Struct | None
    """The whole structure, if it is one run of scalars without conversions."""


_codecs: dict[type[Struct], Codec] = {}


def codec(cls: type[Struct]) -> Codec:
    """The compiled layout of a structure, made on first use."""
    try:
        return _codecs[cls]
    except KeyError:
        _codecs[cls] = made = _Compiler(cls).compile()
        return made


def _pack_targets(out: bytearray, later: Later) -> None:
    """Append what pointers point to, in the order met; a target's own targets queue up behind the others."""
    for at, value, pack in later:
        _struct.pack_into("<I", out, at, len(out))
        pack(value, out, later)


def _short(offset: int, need: int, end: int) -> LayoutError:
    return LayoutError(offset, f"needs {need} bytes, {max(0, end - offset)} left")


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
            if not (item.fixed and item.stored and item.convert is None):
                return None
            codes += item.content.code
        return _struct.Struct("<" + codes)

    # -- unpacking

    def unpack_lines(self) -> list[str]:
        lines: list[str] = []
        codes: list[str] = []
        targets: list[str] = []
        after: list[str] = []

        def flush() -> None:
            if codes:
                run = _struct.Struct("<" + "".join(codes))
                self.minimum += run.size
                lines.append(f"if p + {run.size} > e: raise short(p, {run.size}, e)")
                lines.append(f"{', '.join(targets)}, = {self.name(run.unpack_from, 'run')}(b, p)")
                lines.append(f"p += {run.size}")
            lines.extend(after)
            codes.clear(), targets.clear(), after.clear()

        def fixed(item: Item, scalar: Scalar, variable: str) -> None:
            codes.append(scalar.code)
            targets.append(variable)
            if item.convert is not None:
                after.append(f"{variable} = {self.name(item.convert, 'convert')}({variable})")

        for item in self.items:
            variable = f"f_{item.name}"
            if isinstance(item.wire_only, Constant):
                codes.append(item.content.code)
                targets.append(variable)
                value = self.name(item.wire_only.value, "constant")
                after.append(f"if {variable} != {value}: raise LayoutError(p, {f'{item.name} is not right'!r})")
            elif item.fixed:
                fixed(item, item.content, variable)
            elif self.is_flat(item):
                inner = codec(item.content)
                parts = [f"{variable}_{n}" for n in item.content.fields]
                codes.append(typing.cast(_struct.Struct, inner.flat).format[1:])
                targets.extend(parts)
                after.append(f"{variable} = {self.name(item.content, 'Type')}({', '.join(parts)})")
            elif not (item.condition or item.present) and (item.count or item.pointer or item.tag):
                heads = self.heads(item)
                for scalar, head in heads:
                    codes.append(scalar.code)
                    targets.append(head)
                flush()
                lines.extend(self.unpack_body(item, variable))
            else:
                flush()
                lines.extend(self.unpack_guarded(item, variable))
        flush()
        lines.append(f"return C({', '.join(f'f_{i.name}' for i in self.items if i.stored)}), p")
        return ["    " + line for line in lines]

    @staticmethod
    def is_flat(item: Item) -> bool:
        """A plain structure in place, of scalars only."""
        return (
            isinstance(item.content, type)
            and issubclass(item.content, Struct)
            and not (item.repeated or item.condition or item.present or item.pointer)
            and codec(item.content).flat is not None
        )

    @staticmethod
    def heads(item: Item) -> list[tuple[Scalar, str]]:
        """Numbers that stand in place before the contents: tag, count, pointer."""
        heads = []
        if item.tag:
            heads.append((item.tag, f"t_{item.name}"))
        if item.count:
            heads.append((item.count, f"n_{item.name}"))
        if item.pointer:
            heads.append((Scalar("I"), f"q_{item.name}"))
        return heads

    def unpack_guarded(self, item: Item, variable: str) -> list[str]:
        """A field behind a condition or a presence tag."""
        lines = []
        inner: list[str] = []
        heads = self.heads(item)
        if heads:
            run = _struct.Struct("<" + "".join(s.code for s, _ in heads))
            inner.append(f"if p + {run.size} > e: raise short(p, {run.size}, e)")
            inner.append(f"{', '.join(n for _, n in heads)}, = {self.name(run.unpack_from, 'run')}(b, p)")
            inner.append(f"p += {run.size}")
        inner.extend(self.unpack_body(item, variable))
        if item.present:
            run = _struct.Struct("<" + item.present.code)
            self.minimum += run.size
            lines.append(f"if p + {run.size} > e: raise short(p, {run.size}, e)")
            lines.append(f"s, = {self.name(run.unpack_from, 'run')}(b, p)")
            lines.append(f"p += {run.size}")
            lines.append(f"if s > 1: raise LayoutError(p - {run.size}, f'{item.name}: tag {{s}} is neither 0 nor 1')")
            condition = "s"
        elif item.condition:
            condition = self.condition(item.condition, "f_")
        else:
            return lines + inner
        lines.append(f"if {condition}:")
        lines.extend("    " + line for line in inner)
        lines.append(f"else: {variable} = None")
        return lines

    def condition(self, condition: If | IfNot | IfAgreed, prefix: str) -> str:
        match condition:
            case IfAgreed(bit=bit):
                return f"agreed & {1 << bit}"
            case If(field=field, bit=bit):
                return f"{prefix}{field} & {int(bit)}"
            case IfNot(field=field, bit=bit):
                return f"not {prefix}{field} & {int(bit)}"

    def unpack_body(self, item: Item, variable: str) -> list[str]:
        """The contents, once tag, count and pointer are read; through the pointer if there is one."""
        if not item.pointer:
            return self.unpack_content(item, variable, "p")
        lines = [f"if q_{item.name}:", f"    r = q_{item.name}"]
        lines.extend("    " + line for line in self.unpack_content(item, variable, "r"))
        empty = "[]" if item.repeated else "b''" if item.content is bytes else "''" if item.content is str else "None"
        if item.optional or empty == "None":
            empty = "None"
            if not item.optional:
                lines.append(f"else: raise LayoutError(p, 'null pointer to {item.name}')")
                return lines
        elif item.count or item.count_name:
            count = self.count(item)
            lines.append(f"elif {count}: raise LayoutError(p, f'null pointer to {{{count}}} of {item.name}')")
        lines.append(f"else: {variable} = {empty}")
        return lines

    def count(self, item: Item) -> str:
        return f"n_{item.name}" if item.count else f"f_{item.count_name}"

    def unpack_content(self, item: Item, variable: str, at: str) -> list[str]:
        if item.arms is not None:
            tag = f"t_{item.name}" if item.tag else f"f_{item.tag_name}"
            arms = self.name({k: codec(v).unpack for k, v in item.arms.items()}, "arms")
            return [
                f"u = {arms}.get({tag})",
                f"if u is None: raise LayoutError({at}, f'{item.name} of unknown type {{{tag}}}')",
                f"{variable}, {at} = u(b, {at}, e, agreed)",
            ]
        if item.repeated:
            return self.unpack_list(item, variable, at)
        if item.content in (bytes, str):
            return self.unpack_bytes(item, variable, at)
        if isinstance(item.content, Scalar):
            run = _struct.Struct("<" + item.content.code)
            lines = [
                f"if {at} + {run.size} > e: raise short({at}, {run.size}, e)",
                f"{variable}, = {self.name(run.unpack_from, 'run')}(b, {at})",
                f"{at} += {run.size}",
            ]
            if item.convert:
                lines.append(f"{variable} = {self.name(item.convert, 'convert')}({variable})")
            return lines
        inner = codec(item.content)
        if not (item.pointer or item.condition or item.present):
            self.minimum += inner.minimum
        return [f"{variable}, {at} = {self.name(inner.unpack, 'unpack')}(b, {at}, e, agreed)"]

    def unpack_bytes(self, item: Item, variable: str, at: str) -> list[str]:
        if item.rest:
            size = f"e - {at}"
        elif item.sized:
            size = f"{self.name(item.sized.function, 'size')}({', '.join(f'f_{n}' for n in item.sized.fields)})"
        else:
            size = self.count(item)
        lines = [f"z = {size}", f"if z < 0 or {at} + z > e: raise short({at}, z, e)", f"{variable} = b[{at}:{at} + z]"]
        lines.append(f"{at} += z")
        if item.content is str:
            lines.append(f"{variable} = bytes({variable}).decode('utf-8', 'surrogateescape')")
            if item.nul:
                lines.append(f"{variable} = {variable}.partition('\\0')[0]")
        return lines

    def unpack_list(self, item: Item, variable: str, at: str) -> list[str]:
        lines: list[str] = []
        element = item.content
        flat: _struct.Struct | None
        if item.each:
            arms = [(bit, codec(arm)) for bit, arm in item.each.arms.items()]
            choices = "".join(f"{self.name(c.unpack, 'unpack')} if f_{item.each.field} & {b} else " for b, c in arms)
            lines.append(f"u = {choices} None")
            lines.append(f"if u is None: raise LayoutError({at}, '{item.each.field} selects no kind of {item.name}')")
            flat, minimum, make = None, min(c.minimum for _, c in arms), ""
        elif isinstance(element, Scalar):
            flat, minimum = (None if item.convert else _struct.Struct("<" + element.code)), element.size
            make = "x"
        else:
            inner = codec(element)
            flat, minimum, make = inner.flat, inner.minimum, f"{self.name(element, 'Type')}(*x)"
        if item.rest:
            if flat is None:
                lines += [f"{variable} = []", f"while {at} < e:"]
                lines += ["    " + line for line in self.unpack_element(item, variable, at)]
                return lines
            lines.append(f"n = (e - {at}) // {flat.size}")
        else:
            lines.append(f"n = {self.count(item)}")
        lines.append(f"if n > {item.limit}: raise LayoutError({at}, f'{{n}} {item.name}, limit {item.limit}')")
        lines.append(f"if {at} + n * {minimum} > e: raise short({at}, n * {minimum}, e)")
        if flat is None:
            lines += [f"{variable} = []", "for _ in range(n):"]
            lines += ["    " + line for line in self.unpack_element(item, variable, at)]
        else:
            iterate = self.name(flat.iter_unpack, "iterate")
            each = f"[x[0] for x in {iterate}(b[{at}:{at} + n * {flat.size}])]" if make == "x" else (
                f"[{make} for x in {iterate}(b[{at}:{at} + n * {flat.size}])]"
            )
            lines += [f"{variable} = {each}", f"{at} += n * {flat.size}"]
        return lines

    def unpack_element(self, item: Item, variable: str, at: str) -> list[str]:
        if item.each:
            return [f"x, {at} = u(b, {at}, e, agreed)", f"{variable}.append(x)"]
        if isinstance(item.content, Scalar):
            run = _struct.Struct("<" + item.content.code)
            value = f"{self.name(item.convert, 'convert')}(x)" if item.convert else "x"
            return [
                f"if {at} + {run.size} > e: raise short({at}, {run.size}, e)",
                f"x, = {self.name(run.unpack_from, 'run')}(b, {at})",
                f"{variable}.append({value})",
                f"{at} += {run.size}",
            ]
        return [
            f"x, {at} = {self.name(codec(item.content).unpack, 'unpack')}(b, {at}, e, agreed)",
            f"{variable}.append(x)",
        ]

    # -- packing

    def pack_lines(self) -> list[str]:
        lines: list[str] = []
        codes: list[str] = []
        values: list[str] = []
        links: list[tuple[int, str, str]] = []
        """Pointers of the run: offset in it, whether there is something to point to, the rest of the `later` entry."""

        def flush() -> None:
            if codes:
                run = _struct.Struct("<" + "".join(codes))
                if links:
                    lines.append("at = len(out)")
                lines.append(f"out += {self.name(run.pack, 'run')}({', '.join(values)})")
                lines.extend(f"if {test}: later.append((at + {o}, {v}))" for o, test, v in links)
            codes.clear(), values.clear(), links.clear()

        def size() -> int:
            return _struct.calcsize("<" + "".join(codes))

        for item in self.items:
            value = f"m.{item.name}"
            if isinstance(item.wire_only, Constant):
                codes.append(item.content.code)
                values.append(self.name(item.wire_only.value, "constant"))
            elif isinstance(item.wire_only, CountOf):
                codes.append(item.content.code)
                values.append(f"{self.length(self.field(item.wire_only.field))}")
            elif isinstance(item.wire_only, TagOf):
                codes.append(item.content.code)
                values.append(self.tag(item.wire_only.arms, f"m.{item.wire_only.field}"))
            elif item.fixed:
                codes.append(item.content.code)
                values.append(value)
            elif self.is_flat(item):
                codes.append(typing.cast(_struct.Struct, codec(item.content).flat).format[1:])
                values.extend(f"{value}.{n}" for n in item.content.fields)
            elif not (item.condition or item.present) and (item.count or item.pointer or item.tag):
                if item.tag:
                    codes.append(item.tag.code)
                    values.append(self.tag(typing.cast(dict[int, type[Struct]], item.arms), value))
                if item.count:
                    codes.append(item.count.code)
                    values.append(self.length(item))
                if item.pointer:
                    links.append((size(), self.there(item), f"{value}, {self.target(item)}"))
                    codes.append("I")
                    values.append("0")
                else:
                    flush()
                    lines.extend(self.pack_content(item, value))
            else:
                flush()
                lines.extend(self.pack_guarded(item, value))
        flush()
        return ["    " + line for line in lines or ["pass"]]

    def field(self, name: str) -> Item:
        return next(i for i in self.items if i.name == name)

    def length(self, item: Item) -> str:
        value = f"m.{item.name}"
        if item.content is str:
            encoded = f"len({value}.encode('utf-8', 'surrogateescape')) + {int(item.nul)}"
            return f"({encoded} if {value} is not None else 0)" if item.optional else encoded
        return f"(len({value}) if {value} is not None else 0)" if item.optional else f"len({value})"

    def tag(self, arms: dict[int, type[Struct]], value: str) -> str:
        return f"{self.name({v: k for k, v in arms.items()}, 'tags')}[type({value})]"

    @staticmethod
    def there(item: Item) -> str:
        """Whether a pointer points anywhere: empty bytes and lists have no place of their own, empty text has its NUL."""
        return f"m.{item.name}" if item.repeated or item.content is bytes else f"m.{item.name} is not None"

    def target(self, item: Item) -> str:
        """A function that packs what a pointer points to."""
        lines = ["def target(value, out, later):", *("    " + x for x in self.pack_content(item, "value", "0"))]
        exec("\n".join(lines), self.names)
        return self.name(self.names.pop("target"), "target")

    def pack_guarded(self, item: Item, value: str) -> list[str]:
        inner: list[str] = []
        for scalar, head in self.heads(item):
            pack = self.name(_struct.Struct("<" + scalar.code).pack, "run")
            if head[0] == "q":
                inner.append(f"if {self.there(item)}: later.append((len(out), {value}, {self.target(item)}))")
                inner.append(f"out += {pack}(0)")
            elif head[0] == "n":
                inner.append(f"out += {pack}({self.length(item)})")
            else:
                inner.append(f"out += {pack}({self.tag(typing.cast(dict[int, type[Struct]], item.arms), value)})")
        if not item.pointer:
            inner.extend(self.pack_content(item, value))
        if item.present:
            pack = self.name(_struct.Struct("<" + item.present.code).pack, "run")
            lines = [f"out += {pack}({value} is not None)", f"if {value} is not None:"]
        elif item.condition:
            lines = [f"if {self.condition(item.condition, 'm.')}:"]
        else:
            return inner
        return lines + ["    " + line for line in inner]

    def pack_content(self, item: Item, value: str, agreed: str = "agreed") -> list[str]:
        if item.arms is not None:
            packs = self.name({v: codec(v).pack for v in item.arms.values()}, "packs")
            return [f"{packs}[type({value})]({value}, out, later, {agreed})"]
        if item.repeated:
            lines = []
            if item.count_name and typing.cast(CountOf, self.field(item.count_name).wire_only).field != item.name:
                other = self.length(self.field(typing.cast(CountOf, self.field(item.count_name).wire_only).field))
                text = f"as many {item.name} as {item.count_name} says"
                lines.append(f"if len({value}) != {other}: raise ValueError({text!r})")
            if item.each:
                packs = self.name({arm: codec(arm).pack for arm in item.each.arms.values()}, "packs")
                return [*lines, f"for x in {value}: {packs}[type(x)](x, out, later, {agreed})"]
            if isinstance(item.content, Scalar):
                pack = self.name(_struct.Struct("<" + item.content.code).pack, "run")
                return [*lines, f"for x in {value}: out += {pack}(x)"]
            pack = self.name(codec(item.content).pack, "pack")
            return [*lines, f"for x in {value}: {pack}(x, out, later, {agreed})"]
        if item.content is str:
            return [f"out += {value}.encode('utf-8', 'surrogateescape')" + (" + b'\\0'" if item.nul else "")]
        if item.content is bytes:
            lines = []
            if item.sized:
                size = f"{self.name(item.sized.function, 'size')}({', '.join(f'm.{n}' for n in item.sized.fields)})"
                text = f"{item.name} has {{len({value})}} bytes, its layout {{{size}}}"
                lines.append(f"if len({value}) != {size}: raise ValueError(f{text!r})")
            return [*lines, f"out += {value}"]
        if isinstance(item.content, Scalar):
            return [f"out += {self.name(_struct.Struct('<' + item.content.code).pack, 'run')}({value})"]
        return [f"{self.name(codec(item.content).pack, 'pack')}({value}, out, later, {agreed})"]
