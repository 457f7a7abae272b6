# Types of the QUIC decoder.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from caraway.codecs.kernels.quic_tables cimport Family, Model, State

cdef extern from *:
    """
    /* Variants of a loop are one function, inlined with different constants. */
    #ifdef __GNUC__
    #undef CYTHON_INLINE
    #define CYTHON_INLINE inline __attribute__((always_inline))
    #endif
    """


cdef struct Bits:
    # `words`: the payload's, most significant byte first, then bytes to look at; `at` and `end` count bits.
    uint8_t *words
    uint64_t at
    uint64_t end


cdef struct Window:
    # The first of `left` are the bits from `at` on.
    const uint8_t *words
    uint64_t at
    uint64_t left


cdef struct Plane:
    # The channels that share one state. `last`: by column, the symbols last decoded there, in 4 bytes.
    # `short_zeros`: by code, more zeros than this are not read in the short way. `low`: see `learn`.
    Family family
    State state
    Model models[3]
    uint8_t *last
    uint8_t short_zeros[8]
    uint32_t residuals[768]
    const uint16_t *high_codes
    uint8_t *memory_end
    uint32_t low_bits
    uint32_t high_bit
    int channels
    int low

cdef enum:
    _HEADER = 20
    _ROOM = 1024  # bytes behind the input: 65 literal pixels of 3 code words, a run and 8 bytes looked at
    _FEW_PIXELS = 4096  # are decoded in less time than the GIL takes to change hands
    _BESIDE = 32  # bytes beside a row that `fill` may write
    _ONES = 24  # of a run are taken at once

    _GRAY = 1
    _RGB16 = 2
    _RGBA = 5
