from cpython.buffer cimport Py_buffer
from libc.stdint cimport uint8_t, uint32_t

cdef int _look_at(picture, Py_buffer *view) except -1
cdef int _check(Py_buffer *view, Py_ssize_t right, Py_ssize_t bottom) except -1
cdef uint8_t *_row(Py_buffer *view, Py_ssize_t row) noexcept nogil
cdef list _changed(Py_buffer *one, Py_buffer *other, Py_ssize_t left, Py_ssize_t top, Py_ssize_t right, Py_ssize_t bottom, Py_ssize_t band, Py_ssize_t gap)
cdef Py_ssize_t _mark(Py_buffer *one, Py_buffer *other, Py_ssize_t left, Py_ssize_t top, Py_ssize_t width, Py_ssize_t bottom, uint8_t *differs) noexcept nogil
cdef void _compare(const uint8_t *one, const uint8_t *other, Py_ssize_t width, uint8_t *differs) noexcept nogil
cdef bint _same(Py_buffer *one, Py_buffer *other, Py_ssize_t left, Py_ssize_t row, Py_ssize_t width) noexcept nogil
cdef void _line_sums(Py_buffer *view, uint32_t *sums, Py_ssize_t lines, Py_ssize_t strips, Py_ssize_t apart, Py_ssize_t strip, Py_ssize_t step, uint32_t factor) noexcept nogil
cdef Py_ssize_t _equal_neighbours(const uint8_t *row, Py_ssize_t width) noexcept nogil
cdef Py_ssize_t _steps_at(const uint8_t *pixel, Py_ssize_t stride) noexcept nogil
cdef int _step(const uint8_t *one, const uint8_t *other) noexcept nogil
