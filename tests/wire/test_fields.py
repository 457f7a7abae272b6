"""Each directive of the layout vocabulary: its bytes, and what is refused."""

import enum
from typing import Annotated, Any, ClassVar

import pytest

from caraway.wire.fields import (
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Bool8,
    Bool32,
    Constant,
    Counted,
    CountedBy,
    CountOf,
    EachBy,
    If,
    IfAgreed,
    IfNot,
    LayoutError,
    Length,
    Nul,
    Pointer,
    Present,
    Rest,
    Sized,
    Struct,
    Tagged,
    TaggedBy,
    TagOf,
    struct,
)
from caraway.wire.limits import MAX_ELEMENTS


class Colour(enum.IntEnum):
    RED = 1
    BLUE = 2


class Flags(enum.IntFlag):
    ONE = 1
    TWO = 2
    FOUR = 4


@struct
class Pair(Struct):
    a: U8
    b: U16


@struct
class Scalars(Struct):
    u8: U8
    u16: U16
    u32: U32
    u64: U64
    i16: I16
    i32: I32
    i64: I64
    bool8: Bool8
    bool32: Bool32


@struct
class Members(Struct):
    colour: Annotated[Colour, U8]
    flags: Annotated[Flags, U16]


@struct
class Nested(Struct):
    first: U8
    pair: Pair
    last: U8


@struct
class Fixed(Struct):
    uuid: Annotated[bytes, Length(4)]


@struct
class CountedThings(Struct):
    data: Annotated[bytes, Counted(U16)]
    pairs: Annotated[list[Pair], Counted(U8, limit=3)]
    numbers: Annotated[list[U16], Counted(U8)]
    colours: Annotated[list[Annotated[Colour, U8]], Counted(U8)]


@struct
class Text(Struct):
    plain: Annotated[str, Counted(U8)]
    ended: Annotated[str, Counted(U8), Nul]


@struct
class CountApart(Struct):
    count: ClassVar = CountOf("pairs", U8)
    between: U16
    pairs: Annotated[list[Pair], CountedBy("count", 3)]


@struct
class OneCountForTwo(Struct):
    count: ClassVar = CountOf("firsts", U8)
    firsts: Annotated[list[U8], CountedBy("count")]
    seconds: Annotated[list[U16], CountedBy("count")]


@struct
class Area(Struct):
    width: U8
    height: U8
    data: Annotated[bytes, Sized(lambda width, height: width * height, "width", "height")]


@struct
class RestBytes(Struct):
    head: U8
    data: Annotated[bytes, Rest]


@struct
class RestNumbers(Struct):
    numbers: Annotated[list[U16], Rest]


@struct
class RestColours(Struct):
    colours: Annotated[list[Annotated[Colour, U16]], Rest]


@struct
class CountedByte(Struct):
    data: Annotated[bytes, Counted(U8)]


@struct
class RestThings(Struct):
    things: Annotated[list[CountedByte], Rest]


@struct
class RestText(Struct):
    text: Annotated[str, Rest, Nul]


@struct
class Pointers(Struct):
    pair: Annotated[Pair, Pointer]
    maybe: Annotated[Pair | None, Pointer]
    data: Annotated[bytes, Counted(U8), Pointer]
    name: Annotated[str, Counted(U8), Nul, Pointer]
    note: Annotated[str | None, Counted(U8), Nul, Pointer]
    last: U8


@struct
class Target(Struct):
    number: U8
    deeper: Annotated[Pair, Pointer]


@struct
class Deep(Struct):
    inner: Annotated[Target, Pointer]
    after: Annotated[bytes, Counted(U8), Pointer]


@struct
class Conditional(Struct):
    flags: Annotated[Flags, U8]
    with_two: Annotated[int | None, U16, If("flags", Flags.TWO)]
    without_one: Annotated[Pair | None, IfNot("flags", Flags.ONE)]
    listed: Annotated[list[U8] | None, If("flags", Flags.FOUR), Counted(U8), Pointer]


@struct
class Agreed(Struct):
    serial: Annotated[int | None, U32, IfAgreed(6)]
    rest: U8


@struct
class MaybeList(Struct):
    clip: Annotated[list[Pair] | None, Present(U8), Counted(U32)]


@struct
class Square(Struct):
    side: U8


@struct
class Nothing(Struct):
    pass


@struct
class Shape(Struct):
    shape: Annotated[Square | Pair | Nothing, Tagged(U8, {0: Nothing, 1: Square, 2: Pair})]
    last: U8


@struct
class ShapeApart(Struct):
    tag: ClassVar = TagOf("shape", U8, {1: Square, 2: Pair})
    between: U16
    shape: Annotated[Square | Pair, TaggedBy("tag")]


@struct
class EachOf(Struct):
    flags: Annotated[Flags, U8]
    things: Annotated[list[Square] | list[Pair], EachBy("flags", {Flags.ONE: Square, Flags.TWO: Pair}), Counted(U8)]


@struct
class Marked(Struct):
    magic: ClassVar = Constant(b"MAGI")
    number: U8


@struct
class Base(Struct):
    first: U8


@struct
class Derived(Base):
    second: U8


LAYOUTS: list[tuple[Struct, str]] = [
    (
        Scalars(1, 2, 3, 4, -1, -2, -3, True, True),
        "01 0200 03000000 0400000000000000 ffff feffffff fdffffffffffffff 01 01000000",
    ),
    (Members(Colour.BLUE, Flags.ONE | Flags.FOUR), "02 0500"),
    (Nested(1, Pair(2, 3), 4), "01 02 0300 04"),
    (Fixed(b"abcd"), "61626364"),
    (CountedThings(b"ab", [Pair(1, 2)], [5], [Colour.RED]), "0200 6162 01 01 0200 01 0500 01 01"),
    (CountedThings(b"", [], [], []), "0000 00 00 00"),
    (Text("é", "ab"), "02 c3a9 03 616200"),
    (CountApart(7, [Pair(1, 2), Pair(3, 4)]), "02 0700 01 0200 03 0400"),
    (OneCountForTwo([1, 2], [3, 4]), "02 01 02 0300 0400"),
    (Area(2, 2, b"abcd"), "02 02 61626364"),
    (RestBytes(1, b"xyz"), "01 78797a"),
    (RestNumbers([1, 2]), "0100 0200"),
    (RestColours([Colour.RED, Colour.BLUE]), "0100 0200"),
    (RestThings([CountedByte(b"a"), CountedByte(b"")]), "01 61 00"),
    (RestText("ab"), "616200"),
    (
        Pointers(Pair(1, 2), None, b"d", "n", None, 9),
        "18000000 00000000 01 1b000000 02 1c000000 00 00000000 09" + "01 0200" + "64" + "6e00",
    ),
    (Deep(Target(1, Pair(2, 3)), b"x"), "09000000 01 0e000000" + "01 0f000000" + "78" + "02 0300"),
    (Conditional(Flags(0), None, Pair(1, 2), None), "00 01 0200"),
    (Conditional(Flags.ONE | Flags.TWO, 5, None, None), "03 0500"),
    (Conditional(Flags.ONE | Flags.FOUR, None, None, [7, 8]), "05 02 06000000 0708"),
    (MaybeList(None), "00"),
    (MaybeList([]), "01 00000000"),
    (MaybeList([Pair(1, 2)]), "01 01000000 01 0200"),
    (Shape(Nothing(), 9), "00 09"),
    (Shape(Square(5), 9), "01 05 09"),
    (ShapeApart(7, Pair(1, 2)), "02 0700 01 0200"),
    (EachOf(Flags.ONE, [Square(1), Square(2)]), "01 02 01 02"),
    (EachOf(Flags.TWO, [Pair(1, 2)]), "02 01 01 0200"),
    (Marked(1), "4d414749 01"),
    (Derived(1, 2), "01 02"),
    (Nothing(), ""),
]
ids = [f"{type(value).__name__}-{at}" for at, (value, _) in enumerate(LAYOUTS)]


@pytest.mark.parametrize(("value", "text"), LAYOUTS, ids=ids)
def test_bytes_of_a_layout(value: Struct, text: str) -> None:
    packed = bytes.fromhex(text)
    assert value.pack() == packed
    for body in (packed, bytearray(packed), memoryview(packed)):
        assert type(value).unpack(body) == value


@pytest.mark.parametrize(("value", "text"), LAYOUTS, ids=ids)
def test_every_byte_is_needed_unless_the_rest_is_open(value: Struct, text: str) -> None:
    packed = bytes.fromhex(text)
    open_ended = isinstance(value, RestBytes | RestNumbers | RestColours | RestThings | RestText)
    for end in range(len(packed)):
        try:
            shorter = type(value).unpack(packed[:end])
        except LayoutError as error:
            offset = error.offset
        else:
            assert open_ended
            assert shorter != value or isinstance(value, RestText)
            continue
        assert 0 <= offset <= len(packed)


def test_agreed_capabilities_decide() -> None:
    with_serial, without = Agreed(5, 1), Agreed(None, 1)
    assert with_serial.pack(1 << 6) == bytes.fromhex("05000000 01")
    assert with_serial.pack(1 << 5) == without.pack() == b"\x01"
    assert Agreed.unpack(bytes.fromhex("05000000 01"), 1 << 6) == with_serial
    assert Agreed.unpack(b"\x01") == without


def test_numbers_that_an_enumeration_does_not_know_stay_numbers() -> None:
    odd = Members.unpack(bytes.fromhex("09 0900"))
    assert (odd.colour, type(odd.colour)) == (9, int)
    assert (odd.flags, type(odd.flags)) == (9, int)
    assert odd.pack() == bytes.fromhex("09 0900")
    known = Members.unpack(bytes.fromhex("01 0300"))
    assert known.colour is Colour.RED
    assert known.flags is Flags.ONE | Flags.TWO


def test_a_truth_value_is_anything_but_zero() -> None:
    @struct
    class Truth(Struct):
        value: Bool32

    assert Truth.unpack(bytes.fromhex("00010000")).value is True
    assert Truth.unpack(bytes(4)).value is False


def test_text_ends_at_its_nul_and_keeps_bytes_that_are_not_utf8() -> None:
    assert Text.unpack(bytes.fromhex("00 04 61006200")).ended == "a"
    assert Text.unpack(bytes.fromhex("00 01 61")).ended == "a"
    odd = bytes.fromhex("01 ff 01 00")
    assert Text.unpack(odd).plain == "\udcff"
    assert Text.unpack(odd).pack() == odd


def test_what_follows_a_structure_is_ignored() -> None:
    assert Pair.unpack(bytes.fromhex("01 0200 ffff")) == Pair(1, 2)
    assert RestNumbers.unpack(bytes.fromhex("0100 02")) == RestNumbers([1])
    assert RestColours.unpack(bytes.fromhex("0100 02")) == RestColours([Colour.RED])


REFUSED: list[tuple[type[Struct], str, int, str]] = [
    (Pair, "01", 0, "needs 3 bytes, 1 left"),
    (CountedThings, "0500 6162", 2, "needs 5 bytes, 2 left"),
    (CountedThings, "0000 04" + "010200" * 4, 3, "4 pairs, limit 3"),
    (CountApart, "04 0700" + "010200" * 4, 3, "4 pairs, limit 3"),
    (CountApart, "02 0700 010200", 3, "needs 6 bytes, 3 left"),
    (OneCountForTwo, "02 01 02 0300", 3, "needs 4 bytes, 2 left"),
    (Area, "02 02 616263", 2, "needs 4 bytes, 3 left"),
    (RestThings, "01 61 05 61", 3, "needs 5 bytes, 1 left"),
    (Pointers, "00000000 00000000 00 00000000 00 00000000 00 00000000 09", 24, "null pointer to pair"),
    (Pointers, "ff000000 00000000 00 00000000 00 00000000 00 00000000 09", 255, "needs 3 bytes"),
    (Pointers, "00000000 00000000 01 00000000 00 00000000 00 00000000 09", 24, "null pointer to"),
    (MaybeList, "02 00000000", 1, "clip: tag 2 is not 0 or 1"),
    (MaybeList, "01 02000000 010200", 5, "needs 6 bytes, 3 left"),
    (Shape, "03 00", 1, "shape of unknown type 3"),
    (ShapeApart, "03 0000 00", 3, "shape of unknown type 3"),
    (EachOf, "04 01 00", 2, "flags selects no kind of things"),
    (Marked, "4d414740 01", 5, "magic is not right"),
]


@pytest.mark.parametrize(("cls", "text", "offset", "reason"), REFUSED)
def test_refused_bytes(cls: type[Struct], text: str, offset: int, reason: str) -> None:
    with pytest.raises(LayoutError, match=reason) as caught:
        cls.unpack(bytes.fromhex(text))
    assert caught.value.offset == offset


@pytest.mark.parametrize("cls", [RestNumbers, RestColours, RestThings])
def test_a_list_to_the_end_of_the_body_has_a_limit(cls: type[Struct]) -> None:
    element = cls.unpack(bytes(2)).pack()
    with pytest.raises(LayoutError, match=str(MAX_ELEMENTS)):
        cls.unpack(bytes(2 * MAX_ELEMENTS + len(element)))


UNPACKABLE: list[tuple[Struct, str]] = [
    (Pair(256, 0), "Pair"),
    (Pair(-1, 0), "Pair"),
    (CountedThings(b"", [Pair(0, 0)] * 256, [], []), "CountedThings"),
    (Area(2, 2, b"abc"), "data has 3 bytes, its layout 4"),
    (OneCountForTwo([1], [1, 2]), "seconds and firsts differ in length"),
]


@pytest.mark.parametrize(("value", "reason"), UNPACKABLE)
def test_values_that_do_not_fit_their_layout(value: Struct, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        value.pack()


def test_a_condition_on_something_absent_costs_nothing() -> None:
    absent = Conditional(Flags.ONE, 5, Pair(1, 2), [1])
    assert absent.pack() == b"\x01"


def test_equality_and_text() -> None:
    assert Pair(1, 2) == Pair(1, 2)
    assert Pair(1, 2) != Pair(1, 3)
    assert Derived(1, 2) != Base(1)
    assert repr(Nested(1, Pair(2, 3), 4)) == "Nested(first=1, pair=Pair(a=2, b=3), last=4)"
    assert repr(RestBytes(1, bytes(33))) == "RestBytes(head=1, data=<33 bytes>)"
    with pytest.raises(TypeError, match="unhashable"):
        hash(Pair(1, 2))


def test_structures_have_no_other_attributes() -> None:
    pair: Any = Pair(1, 2)
    with pytest.raises(AttributeError):
        pair.c = 3


def test_an_annotation_that_says_nothing_about_a_layout_is_refused() -> None:
    @struct
    class Odd(Struct):
        field: Annotated[int, "what?"]

    with pytest.raises(TypeError, match="field: 'what\\?' says nothing"):
        Odd(1).pack()
