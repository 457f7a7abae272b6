# For other kernels, of types that have the same name in all modules.
from libc.stdint cimport uint8_t

cdef Py_ssize_t read_colours(const uint8_t *tokens, Py_ssize_t size, uint8_t *out, Py_ssize_t units) noexcept nogil
