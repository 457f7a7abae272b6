# What Cython cannot spell: see shim.h.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "shim.h" nogil:
    bint is_x86_64_v3()
    bint is_x86_64_v4()
    uint16_t load16(const uint8_t *at)
    uint32_t load32(const uint8_t *at)
    uint64_t load64(const uint8_t *at)
    uint32_t load32_big_endian(const uint8_t *at)
    uint64_t load64_big_endian(const uint8_t *at)
    void store16(uint8_t *at, uint16_t value)
    void store32(uint8_t *at, uint32_t value)
    void store64(uint8_t *at, uint64_t value)
    int leading_zeros32(uint32_t value)
    uint64_t leading_zeros64(uint64_t value)
    int trailing_zeros64(uint64_t value)
    void copy32(uint8_t *to, const uint8_t *from_)
    void expand_bgr8(uint8_t *to, const uint8_t *from_)
    void pack_bgr8(uint8_t *to, const uint8_t *from_)
    unsigned alike32(const uint8_t *one, const uint8_t *other)
    double multiply_add(double a, double b, double c)
    void copy16(uint8_t *to, const uint8_t *from_)
    void fill8(uint8_t *to, uint32_t pixel)
    void swap_555_16(uint8_t *to, const uint8_t *from_)
    void swap16_16(uint8_t *to, const uint8_t *from_)
    void put_alpha(uint8_t *to, const uint8_t *alpha, size_t pixels)
    void take_alpha(uint8_t *to, const uint8_t *from_, size_t pixels)
    void exchange(uint8_t *one, uint8_t *other, size_t size)
    int same_of_32(const uint8_t *one, const uint8_t *other, uint64_t mask)

    enum:
        HAS_MATCHES
    ctypedef struct Recent:
        pass
    void recent_begin(Recent *recent, const uint8_t *to)
    void recent_match(Recent *recent, uint8_t *to, size_t back, size_t length)
