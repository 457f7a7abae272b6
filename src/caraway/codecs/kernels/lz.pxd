# Types of lz_decode.py and lz_encode.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

ctypedef const uint8_t *Source
ctypedef uint8_t *Target

# How decoding ends.
cdef enum Outcome:
    DONE
    ENDS_EARLY
    LITERAL_OUTSIDE
    MATCH_OUTSIDE
    LEFT_OVER

cdef enum:
    HEADER_BYTES = 28
    # Numbers of types (spec/lz.md 2.1).
    PLT1_LE = 1
    PLT1_BE = 2
    PLT4_LE = 3
    PLT4_BE = 4
    PLT8 = 5
    RGB16 = 6
    RGB24 = 7
    RGB32 = 8
    RGBA = 9
    XXXA = 10
    A8 = 11
    # Distances that have a form of their own begin here, and end there.
    FAR = 8192
    FARTHEST = 73727
    MAX_HASH_BITS = 14
    # Units that a match found late may still take back; literals before them are written.
    KEPT = 8192
    # Bytes before and behind a place that wide loads and stores may touch.
    WIDE = 128
    # Pixels up to which work does not take long enough to let other threads run.
    SMALL = 4096

# A payload on its way to pixels.
cdef struct Stream:
    Source at
    Source end

# What the payload says of its picture. `units` are what its streams code.
cdef struct Picture:
    int type
    Py_ssize_t width
    Py_ssize_t height
    Py_ssize_t stride
    Py_ssize_t units
    bint top_down
