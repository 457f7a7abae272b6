from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from caraway.codecs.kernels.lz_decode cimport read_colours

cdef enum:
    HEADER = 6  # bytes of a mini header: u16 type, u32 size
    DRAW_FILL = 302
    DRAW_COPY = 304
    BASE = 21  # bytes of a drawing up to the clip's rectangles: surface id, box, type of the clip
    RECT = 16
    FILL = 20  # bytes of DRAW_FILL behind the clip: brush, rop, mask
    COPY = 36  # bytes of DRAW_COPY behind the clip: offset of the image, source area, rop, scale mode, mask
    IMAGE = 22  # bytes of the image up to its LZ payload: id, type, flags, width, height, size of the payload
    LZ_HEADER = 28
    NO_CLIP = 0
    CLIP_RECTS = 1
    SOLID = 1
    OP_PUT = 8
    LZ_RGB = 101
    RGB32 = 8
    MAGIC = 0x20205A4C
    VERSION = 0x00010001

    MAX_CLIP = 1024  # rectangles: far more than a guest's windows
    MAX_PIXELS = 1 << 22  # of a drawing, and of a run that no other one begins after: a millisecond or two, then others get their turn
    MAX_BOXES = 8

cdef struct Box:
    int64_t left
    int64_t top
    int64_t right
    int64_t bottom

cdef struct Canvas:
    uint8_t *pixels
    uint32_t id
    int64_t width
    int64_t height
    uint8_t *scratch
    int64_t room  # pixels of the scratch memory
    int64_t work  # pixels so far
    int count
    Box boxes[MAX_BOXES]

cdef Box rect(const uint8_t *at) noexcept nogil
cdef Box common(Box one, Box other) noexcept nogil
cdef bint is_empty(Box box) noexcept nogil
cdef int64_t area(Box box) noexcept nogil
cdef bint spend(Canvas *canvas, Box box, const uint8_t *rects, Py_ssize_t clip) noexcept nogil
cdef bint within(Box inner, Box outer) noexcept nogil
cdef void damaged(Canvas *canvas, Box box) noexcept nogil
cdef Box bounds(Canvas *canvas) noexcept nogil
cdef Py_ssize_t clip_size(const uint8_t *body, Py_ssize_t size) noexcept nogil
cdef bint has_mask(const uint8_t *mask) noexcept nogil
cdef void fill_box(Canvas *canvas, Box box, uint32_t color) noexcept nogil
cdef void copy_box(Canvas *canvas, Box box, const uint8_t *rows, int64_t width, Box place) noexcept nogil
cdef bint fill(Canvas *canvas, const uint8_t *body, Py_ssize_t size) noexcept nogil
cdef bint copy(Canvas *canvas, const uint8_t *body, Py_ssize_t size) noexcept nogil
cdef bint decode(Canvas *canvas, const uint8_t *image, Py_ssize_t size, int64_t width, int64_t height) noexcept nogil
