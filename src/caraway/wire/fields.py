"""Declarative layouts: a structure's annotations *are* its bytes (spec/wire.md 5.3).

A structure is a class with annotated fields, decorated with `@struct` (or, for messages, `@message`). Fields come in
the order of the wire, packed, little-endian. Packers and bounds-checked unpackers are compiled on first use, with one
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
import functools
import inspect
import struct as _struct
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar, dataclass_transform

from caraway.wire.limits import MAX_ELEMENTS

Buffer = bytes | bytearray | memoryview


class LayoutError(ValueError):
    """Bytes that do not fit their layout; `offset` is where in the body. A channel makes it a ProtocolError."""

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(f"at byte {offset}: {text}")
        self.offset = offset
        self.text = text


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Scalar:
    """A value that one `struct` code packs."""

    code: str

    @property
    def size(self) -> int:
        return _struct.calcsize("<" + self.code)


def Length(size: int) -> Scalar:  # noqa: N802 - reads as a mark, like the classes below
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


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Counted:
    """A count of this type stands right before the contents (before the pointer, if there is one)."""

    type: Any
    limit: int = MAX_ELEMENTS


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class CountedBy:
    """The count is the earlier `CountOf` of this name."""

    name: str
    limit: int = MAX_ELEMENTS


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class CountOf:
    """A count on the wire that is the length of a later field."""

    field: str
    type: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Constant:
    """Bytes that are always the same."""

    value: bytes


class Sized:
    """The number of bytes follows from earlier fields."""

    def __init__(self, function: Callable[..., int], *fields: str) -> None:
        self.function = function
        self.fields = fields


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class If:
    """There only if an earlier field has this bit."""

    field: str
    bit: int


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class IfNot:
    """There only if an earlier field does not have this bit."""

    field: str
    bit: int


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class IfAgreed:
    """There only if both sides announced the capability of this number."""

    bit: int


@dataclass(slots=True, eq=False, repr=False, match_args=False)
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


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class TaggedBy:
    """The structure is selected by the earlier `TagOf` of this name."""

    name: str


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
            pack_targets(out, later)
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
    """Make a class with annotated fields a structure: with slots, and a tuple of their names.

    Its `__init__` is written when the first instance is made: a session uses few of the many messages there are, and
    `dataclass` would take a fifth of what a client needs to start.
    """
    own = [name for name, annotation in cls.__annotations__.items() if not _is_class_var(annotation)]
    namespace = {key: value for key, value in cls.__dict__.items() if key not in ("__dict__", "__weakref__")}
    kind: Any = type(cls)
    made = kind(cls.__name__, cls.__bases__, {**namespace, "__slots__": tuple(own)})
    made.__qualname__ = cls.__qualname__
    made.fields = (*cls.fields, *own)
    made.__init__ = _first_init
    return typing.cast(C, made)


def _is_class_var(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.startswith("ClassVar")
    return ClassVar in (annotation, typing.get_origin(annotation))


def _first_init(self: Struct, *args: Any, **kwargs: Any) -> None:
    cls: Any = type(self)
    assignments = [f"self.{name} = {name}" for name in cls.fields] or ["pass"]
    namespace: dict[str, Any] = {}
    exec("\n    ".join([f"def __init__({', '.join(['self', *cls.fields])}):", *assignments]), namespace)
    cls.__init__ = namespace["__init__"]
    cls.__init__(self, *args, **kwargs)


POINTER_SIZE = 4


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Item:
    """One entry of a layout: a field, or something on the wire only (`name` is its ClassVar then)."""

    name: str
    stored: bool
    content: Any = None
    """Scalar, Struct class, `bytes` or `str`; of the elements if `repeated`. None for wire-only entries."""
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
        """Whether the entry is one scalar, always there."""
        return isinstance(self.content, Scalar) and not (
            self.repeated or self.condition or self.present or self.pointer
        )

    @property
    def in_place(self) -> bool:
        """Whether the entry is one structure, always there."""
        return (
            isinstance(self.content, type)
            and issubclass(self.content, Struct)
            and not (self.repeated or self.condition or self.present or self.pointer)
        )

    @property
    def minimum(self) -> int:
        """Bytes that the entry takes at least."""
        if self.condition:
            return 0
        if self.present:
            return self.present.size
        if self.fixed:
            return typing.cast(Scalar, self.content).size
        if self.in_place:
            return codec(self.content).minimum
        return sum(head.size for head in (self.tag, self.count) if head) + (POINTER_SIZE if self.pointer else 0)

    @property
    def members(self) -> _Members:
        """From numbers to members of the enumeration."""
        return _members(typing.cast(Any, self.values))


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


@functools.cache
def _members(values: type[enum.IntEnum] | type[enum.IntFlag]) -> _Members:
    return _Members(values)


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
        item.content, item.values = element.content, element.values
        return item
    if typing.get_origin(base) is Annotated:
        inner = _item(name, base, hidden)
        item.content, item.values = inner.content, inner.values
    elif isinstance(base, type) and issubclass(base, enum.Enum):
        item.values = base
    elif base is bool:
        item.values = bool
    elif item.content is None:
        item.content = base
    return item


def _apply(item: Item, mark: Any, hidden: dict[str, Item]) -> None:
    if typing.get_origin(mark) is Annotated:
        mark = scalar_of(mark)
    match mark:
        case Scalar():
            item.content = mark
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
            if _is_class_var(annotation):
                mark = owner.__dict__.get(name)
                if isinstance(mark, CountOf | TagOf):
                    items.append(Item(name, False, content=scalar_of(mark.type), wire_only=mark))
                    hidden[name] = items[-1]
                elif isinstance(mark, Constant):
                    items.append(Item(name, False, content=Length(len(mark.value)), wire_only=mark))
            else:
                items.append(_item(name, annotation, hidden))
    return items


Unpack = Callable[[Buffer, int, int, int], tuple[Any, int]]
Pack = Callable[[Any, bytearray, "Later", int], None]
Later = list[tuple[int, Any, Callable[[Any, bytearray, "Later"], None]]]
"""Pointers to fill in: where, what they point to, and how to pack that."""


class Codec:
    """The layout of one structure and the functions made from it, each on first use."""

    def __init__(self, cls: type[Struct]) -> None:
        self.cls = cls

    @functools.cached_property
    def items(self) -> list[Item]:
        """The entries in the order of the wire."""
        return layout(self.cls)

    @functools.cached_property
    def unpack(self) -> Unpack:
        from caraway.wire.unpacking import compile_unpack

        return compile_unpack(self.cls)

    @functools.cached_property
    def pack(self) -> Pack:
        from caraway.wire.packing import compile_pack

        return compile_pack(self.cls)

    @functools.cached_property
    def minimum(self) -> int:
        """Bytes that the structure takes at least."""
        return sum(item.minimum for item in self.items)

    @functools.cached_property
    def flat(self) -> _struct.Struct | None:
        """All of it, if it is one run of scalars without conversions."""
        if not all(item.fixed and item.stored and item.values is None for item in self.items):
            return None
        return _struct.Struct("<" + "".join(item.content.code for item in self.items))


_codecs: dict[type[Struct], Codec] = {}


def codec(cls: type[Struct]) -> Codec:
    """The layout of a structure, made on first use."""
    try:
        return _codecs[cls]
    except KeyError:
        _codecs[cls] = made = Codec(cls)
        return made


def pack_targets(out: bytearray, later: Later) -> None:
    """Append what pointers point to, in the order met; a target's own targets queue up behind the others."""
    for at, value, pack in later:
        _struct.pack_into("<I", out, at, len(out))
        pack(value, out, later)
