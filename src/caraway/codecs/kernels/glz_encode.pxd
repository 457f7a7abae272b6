# Types of the GLZ encoder.
from libc.stdint cimport uint8_t, uint64_t
from caraway.codecs.kernels.glz_images cimport Images

cdef extern from *:
    """
    #define GLZ_HASH 0x9E3779B97F4A7C15u
    """
    uint64_t GLZ_HASH


cdef enum:
    # Bytes behind the units of a plane: 32 are read at once, and packed pixels are read 8 at a time.
    PLANE_SLACK = 32
    TABLE_BITS = 18


cdef struct Plane:
    # One plane of an image on its way to tokens. `table`: by hash, low half of the id, and place of a unit. `head`: the
    # oldest image that may be referred to. `alpha`: this is the second plane, here and in other images.
    const uint8_t *units
    uint64_t count
    uint8_t *out
    uint64_t *table
    const Images *images
    uint64_t id
    uint64_t head
    int type
    bint alpha
