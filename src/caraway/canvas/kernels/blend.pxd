from libc.stdint cimport int32_t, uint8_t, uint32_t

cdef enum:
    # How a mask weighs the source: not at all, by a byte, by the alpha of a word, by each component of a word.
    UNMASKED = 0
    COVERAGE = 1
    ALPHA = 2
    COMPONENTS = 3

    OVER = 3

    # Factors of one side, from its own alpha and the other side's.
    NOTHING = 0
    ALL = 1
    OTHER = 2
    NOT_OTHER = 3
    OUTSIDE_OTHER = 4
    NOT_OUTSIDE_OTHER = 5
    WITHIN_OTHER = 6
    NOT_WITHIN_OTHER = 7

    # Blend modes that work on a component alone, from MULTIPLY to EXCLUSION, and on a colour.
    MULTIPLY = 48
    SCREEN = 49
    OVERLAY = 50
    DARKEN = 51
    LIGHTEN = 52
    COLOR_DODGE = 53
    COLOR_BURN = 54
    HARD_LIGHT = 55
    SOFT_LIGHT = 56
    DIFFERENCE = 57
    EXCLUSION = 58
    HUE = 59
    SATURATION = 60
    COLOR = 61
    LUMINOSITY = 62

# Pixels that repeat themselves; (x, y) is the one at the left top of the rectangle.
cdef struct Tile:
    const uint8_t *data
    Py_ssize_t stride
    Py_ssize_t width
    Py_ssize_t height
    Py_ssize_t x
    Py_ssize_t y
    Py_ssize_t size

cdef struct Surface:
    uint8_t *data
    Py_ssize_t stride
    Py_ssize_t columns
    Py_ssize_t rows
    int layout
    uint32_t high

cdef const uint8_t *_part(const Tile *tile, Py_ssize_t row, Py_ssize_t column, Py_ssize_t count, uint8_t *scratch) noexcept nogil
cdef uint32_t _multiplied(uint32_t a, uint32_t b) noexcept nogil
cdef uint32_t _weighed(uint32_t word, uint32_t weight) noexcept nogil
cdef uint32_t _weighed_each(uint32_t word, uint32_t weights) noexcept nogil
cdef uint32_t _sum(uint32_t one, uint32_t other) noexcept nogil
cdef uint32_t _masked(uint32_t *alphas, uint32_t word, const uint8_t *mask, Py_ssize_t i, int kind) noexcept nogil
cdef uint32_t _share(uint32_t part, uint32_t whole) noexcept nogil
cdef uint32_t _factor(int kind, uint32_t own, uint32_t other) noexcept nogil
cdef uint32_t _factors(int kind, uint32_t own, uint32_t other) noexcept nogil
cdef void _over(uint32_t *d, const uint8_t *source, const uint8_t *mask, int kind, Py_ssize_t count) noexcept nogil
cdef void _operate(uint32_t *d, const uint8_t *source, const uint8_t *mask, int kind, int source_factor, int destination_factor, Py_ssize_t count) noexcept nogil
cdef void _multiply(uint32_t *d, const uint8_t *source, const uint8_t *mask, int kind, Py_ssize_t count) noexcept nogil
cdef double _blended(int mode, double d, double da, double s, double sa) noexcept nogil
cdef void _blend(uint32_t *d, const uint8_t *source, const uint8_t *mask, int kind, int mode, Py_ssize_t count) noexcept nogil
cdef double _luminosity(const double *color) noexcept nogil
cdef double _saturation(const double *color) noexcept nogil
cdef void _set_luminosity(double *color, double alpha, double luminosity) noexcept nogil
cdef void _set_saturation(double *color, double saturation) noexcept nogil
cdef void _recolored(double *result, int mode, const double *d, double da, const double *s, double sa) noexcept nogil
cdef uint32_t _rounded(double value) noexcept nogil
cdef void _composite(const Surface *surface, int operator, int source_factor, int destination_factor, const Tile *source, const Tile *mask, int kind) noexcept nogil
