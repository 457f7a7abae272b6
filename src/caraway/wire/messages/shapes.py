"""Points, rectangles and transforms (spec/wire.md 5.3)."""

from caraway.wire.fields import I16, I32, U32, Struct, struct


@struct
class Point(Struct):
    """A place on a surface, pixels."""

    x: I32
    y: I32


@struct
class Point16(Struct):
    """A place on a screen, pixels."""

    x: I16
    y: I16


@struct
class PointFix(Struct):
    """A place in 28.4 fixed point: sixteenths of a pixel."""

    x: I32
    y: I32


@struct
class Rect(Struct):
    """A half-open rectangle: left <= x < right, top <= y < bottom. Mind the order of the fields."""

    top: I32
    left: I32
    bottom: I32
    right: I32

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


@struct
class Transform(Struct):
    """The upper two rows of a matrix; signed 16.16 fixed point, carried unsigned."""

    t00: U32
    t01: U32
    t02: U32
    t10: U32
    t11: U32
    t12: U32
