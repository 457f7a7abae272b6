# Types and functions of the QUIC encoder: spec/quic.md 3, 5 and 6.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from caraway.codecs.kernels.quic_tables cimport Family, Model, State

cdef extern from "quic_tables.h" nogil:
    const uint32_t QUIC_MAGIC

cdef enum:
    MARGIN = 64  # bytes beside a row that may be touched
    PIXEL_BYTES = 18  # at most: four codes of 26 bits and two empty runs of 16
    FEW_PIXELS = 4096  # are coded in less time than the GIL takes to change hands

cdef struct Code:
    uint8_t bits  # the last eight; those before them are 0
    uint8_t length

cdef struct Channel:
    Model model
    const Code *codes[256]  # code words in force, by the symbol before

cdef struct Plane:
    # What shares a state: b, g and r of pixels of 4 bytes; or the bytes of a plane.
    Family family
    State state
    int channels
    const Code *codes  # 256 for each code
    Channel channel[3]
    uint8_t *symbols  # of the row, from column 0; those of column -1 are before it
    uint8_t *old_symbols  # of the row above
    uint8_t *equal  # by column: the pixel equals the one to its left
    uint8_t *equal_above  # the same in the row above
    uint8_t *runs  # by column: a run may start

cdef struct Bits:
    uint64_t pending  # its low `count` bits are yet to be stored
    unsigned int count  # less than 32
    uint8_t *at
    uint8_t *start
    uint8_t *end

cdef void build_codes(Code *codes, int bits) noexcept nogil
cdef void start_plane(Plane *plane, int channels, int bits) noexcept nogil
cdef void select_codes(Plane *plane, Channel *channel, int first, int end) noexcept nogil
cdef void learn(Plane *plane, Py_ssize_t column) noexcept nogil
cdef void emit(Bits *bits, uint64_t value, unsigned int length) noexcept nogil
cdef Py_ssize_t code_colours(Plane *plane, Bits *bits, Py_ssize_t column, Py_ssize_t limit) noexcept nogil
cdef Py_ssize_t code_bytes(Plane *plane, Bits *bits, Py_ssize_t column, Py_ssize_t limit) noexcept nogil
cdef Py_ssize_t code_pixels(Plane *plane, Bits *bits, Py_ssize_t column, Py_ssize_t limit) noexcept nogil
cdef void code_run(Plane *plane, Bits *bits, Py_ssize_t length) noexcept nogil
cdef Py_ssize_t equal_from(const Plane *plane, Py_ssize_t column, Py_ssize_t end) noexcept nogil
cdef void code_segment(Plane *plane, Bits *bits, Py_ssize_t column, Py_ssize_t end) noexcept nogil
cdef void code_row(Plane *plane, Bits *bits, Py_ssize_t width) noexcept nogil
cdef void predict(Plane *plane, const uint8_t *row, const uint8_t *above, Py_ssize_t y, Py_ssize_t width) noexcept nogil
cdef void compare(Plane *plane, const uint8_t *row, Py_ssize_t y, Py_ssize_t width) noexcept nogil
cdef uint8_t *expand24(uint8_t *to, const uint8_t *row, Py_ssize_t width) noexcept nogil
cdef uint8_t *expand16(uint8_t *to, const uint8_t *row, Py_ssize_t width) noexcept nogil
cdef uint8_t *take_alpha(uint8_t *to, const uint8_t *row, Py_ssize_t width) noexcept nogil
cdef bint reserve(Bits *bits, size_t size) noexcept nogil
cdef void place_rows(Plane *plane, uint8_t *memory, Py_ssize_t width) noexcept nogil
cdef void encode_row(
    Plane *plane, Bits *bits, const uint8_t *row, const uint8_t *above, Py_ssize_t y, Py_ssize_t width
) noexcept nogil
cdef bint encode_rows(
    Bits *bits, uint8_t *memory, const uint8_t *data, int type, Py_ssize_t width, Py_ssize_t height, Py_ssize_t stride
) noexcept nogil
cdef bint encode_image(
    Bits *bits, const uint8_t *data, int type, Py_ssize_t width, Py_ssize_t height, Py_ssize_t stride
) noexcept nogil
