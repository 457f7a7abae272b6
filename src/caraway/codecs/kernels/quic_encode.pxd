# Types and functions of the QUIC encoder: spec/quic.md 3, 5 and 6.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from caraway.codecs.kernels.quic_tables cimport Family, Model, State

cdef extern from "quic_tables.h" nogil:
    const uint32_t QUIC_MAGIC

cdef extern from *:
    bint unlikely(bint condition) noexcept nogil

cdef enum:
    GRAY = 1
    RGB16 = 2
    RGB24 = 3
    RGBA = 5
    HIGH_5 = 0xF8
    MARGIN = 64  # bytes beside a row that may be touched
    ROWS = 12  # five of each plane, two of converted pixels
    PIXEL_BYTES = 18  # at most: four codes of 26 bits and two empty runs of 16
    FEW_PIXELS = 4096  # are coded in less time than the GIL may take to come back

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
    Py_ssize_t size  # bytes a pixel
    const Code *codes  # 256 for each code
    Channel channel[3]
    uint8_t *symbols  # of the row, from column 0; those of column -1 are before it
    uint8_t *old_symbols  # of the row above
    uint8_t *equal  # by column: the pixel equals the one to its left
    uint8_t *equal_above  # the same in the row above
    uint8_t *runs  # by column: a run may start

cdef struct Bits:
    uint8_t *start
    size_t capacity
    uint64_t size  # in bits
    uint64_t last  # the last of them

cdef void build_codes(Code *codes, int bits) noexcept nogil
cdef void start_plane(Plane *plane, int channels, int bits) noexcept nogil
cdef void select_codes(Plane *plane, Channel *channel, int bucket) noexcept nogil
cdef void learn(Plane *plane, Py_ssize_t column) noexcept nogil
cdef void emit(Bits *bits, uint64_t value, unsigned int length) noexcept nogil
cdef void code_colours(Plane *plane, Bits *bits, Py_ssize_t column, Py_ssize_t end) noexcept nogil
cdef void code_bytes(Plane *plane, Bits *bits, Py_ssize_t column, Py_ssize_t end) noexcept nogil
cdef void code_run(Plane *plane, Bits *bits, Py_ssize_t length) noexcept nogil
cdef Py_ssize_t equal_from(const Plane *plane, Py_ssize_t column, Py_ssize_t end) noexcept nogil
cdef Py_ssize_t next_run(const Plane *plane, Py_ssize_t column, Py_ssize_t end) noexcept nogil
cdef void code_segment(Plane *plane, Bits *bits, Py_ssize_t column, Py_ssize_t end) noexcept nogil
cdef void code_row(Plane *plane, Bits *bits, Py_ssize_t width) noexcept nogil
cdef inline uint8_t average(uint8_t a, uint8_t b) noexcept nogil:
    return <uint8_t> ((<unsigned int> a + b + 1) >> 1) - ((a ^ b) & 1)
cdef inline uint8_t fold(uint8_t difference) noexcept nogil:
    return <uint8_t> (difference << 1) ^ <uint8_t> (0 - (difference >> 7))
cdef void predict(Plane *plane, const uint8_t *row, const uint8_t *above, Py_ssize_t y, Py_ssize_t width) noexcept nogil
cdef void compare(Plane *plane, const uint8_t *row, Py_ssize_t y, Py_ssize_t width) noexcept nogil
cdef uint8_t *expand24(uint8_t *to, const uint8_t *row, Py_ssize_t width) noexcept nogil
cdef uint8_t *expand16(uint8_t *to, const uint8_t *row, Py_ssize_t width) noexcept nogil
cdef void take_alpha(uint8_t *to, const uint8_t *row, Py_ssize_t width) noexcept nogil
cdef bint reserve(Bits *bits, size_t capacity) noexcept nogil
cdef void place_rows(Plane *plane, uint8_t *rows, Py_ssize_t pitch) noexcept nogil
cdef void encode_row(
    Plane *plane, Bits *bits, const uint8_t *row, const uint8_t *above, Py_ssize_t y, Py_ssize_t width
) noexcept nogil
cdef bint encode_rows(
    Bits *bits,
    Plane *planes,
    uint8_t *rows,
    const uint8_t *data,
    int type,
    Py_ssize_t width,
    Py_ssize_t height,
    Py_ssize_t stride,
) noexcept nogil
cdef bint encode_image(
    Bits *bits, const uint8_t *data, int type, Py_ssize_t width, Py_ssize_t height, Py_ssize_t stride
) noexcept nogil
