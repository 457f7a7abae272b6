"""Kernels refuse rectangles and sizes that do not fit their buffers."""

import pytest

from caraway.canvas.kernels import convert, raster, sample

PLACES = (0, 0, 65536, 0, 0, 65536)
TILE = (bytes(16), 8, 2, 2, 0, 0)
CALLS = {
    raster.fill: (bytearray(16), 4, 2, 2, 0, 0, 2, 2, 7),
    raster.copy: (bytearray(16), 4, 2, 2, 0, 0, 2, 2, bytes(16), 8, 2, 2, 0, 0),
    raster.combine: (bytearray(16), 4, 2, 2, (0, 0, 2, 2), 0xF0, TILE, TILE, (bytes(4), 2)),
    raster.keyed: (bytearray(16), 4, 2, 2, (0, 0, 2, 2), bytes(16), 8, 0, 7),
    convert.convert: (bytearray(16), 8, 0, bytes(8), 4, 2, 0, 2, 2),
    convert.bits: (bytes(4), 2, 1, 0, 9, 2, True, False),
    sample.sample: (2, 2, bytes(16), 8, 0, 2, 2, 0, PLACES, True, 0),
}
WRONG = [
    (raster.fill, 0, bytearray(15)),
    (raster.copy, 0, bytearray(15)),
    (raster.copy, 8, bytes(15)),
    (raster.copy, 9, 7),
    (raster.combine, 0, bytearray(15)),
    (raster.combine, 4, (0, 0, 3, 2)),
    (raster.combine, 4, (0, -1, 2, 2)),
    (raster.combine, 4, (1, 1, 1, 2)),
    (raster.combine, 6, (bytes(15), 8, 2, 2, 0, 0)),
    (raster.combine, 7, (bytes(15), 8, 2, 2, 0, 0)),
    (raster.combine, 6, (bytes(16), 7, 2, 2, 0, 0)),
    (raster.combine, 6, (bytes(16), 8, 0, 2, 0, 0)),
    (raster.combine, 6, (bytes(16), 8, 2, 2, 2, 0)),
    (raster.combine, 6, (bytes(16), 8, 2, 2, 0, -1)),
    (raster.combine, 8, (bytes(3), 2)),
    (raster.combine, 8, (bytes(4), 1)),
    (raster.keyed, 0, bytearray(15)),
    (raster.keyed, 4, (0, 0, 3, 2)),
    (raster.keyed, 5, bytes(15)),
    (raster.keyed, 6, 7),
    (convert.convert, 0, bytearray(15)),
    (convert.convert, 1, 7),
    (convert.convert, 2, 5),
    (convert.convert, 3, bytes(7)),
    (convert.convert, 4, 3),
    (convert.convert, 5, 7),
    (convert.bits, 0, bytes(3)),
    (convert.bits, 1, 1),
    (convert.bits, 2, -1),
    (convert.bits, 4, 0),
    (sample.sample, 0, 0),
    (sample.sample, 2, bytes(15)),
    (sample.sample, 3, 7),
    (sample.sample, 4, 7),
    (sample.sample, 5, 0),
    (sample.sample, 10, 4),
]


@pytest.mark.parametrize(("kernel", "place", "wrong"), WRONG)
def test_refused(kernel, place, wrong):
    arguments = list(CALLS[kernel])
    kernel(*arguments)
    arguments[place] = wrong
    with pytest.raises(ValueError, match=r"surface|picture|operand|mask|rectangle|unknown"):
        kernel(*arguments)


@pytest.mark.parametrize("kernel", [raster.fill, raster.copy, raster.combine, raster.keyed, convert.convert])
def test_what_is_drawn_on_can_be_written(kernel):
    arguments = list(CALLS[kernel])
    arguments[0] = bytes(arguments[0])
    with pytest.raises(BufferError):
        kernel(*arguments)


def test_buffers_are_let_go():
    """A bytearray with a view of it cannot be resized."""
    for kernel, arguments in CALLS.items():
        if isinstance(arguments[0], bytearray):
            data = bytearray(arguments[0])
            kernel(data, *arguments[1:])
            data.append(0)
    data = bytearray(15)
    with pytest.raises(ValueError, match="surface"):
        raster.combine(data, *CALLS[raster.combine][1:])
    data.append(0)
