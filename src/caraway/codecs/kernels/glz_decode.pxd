# Types of the GLZ decoder.
from libc.stdint cimport uint8_t, uint64_t
from caraway.codecs.kernels.glz_images cimport Images


cdef enum:
    # How a stream ends.
    DONE
    ENDS_EARLY
    RUNS_OVER
    OUTSIDE
    MISSING


cdef struct Stream:
    # One token stream on its way to pixels. `literal`: bytes of a literal unit: 3 for b, g, r; 2 for x1r5g5b5; 1 for
    # `per_unit` indices of `palette`. `alpha`: the units are the alpha bytes of pixels that are there already.
    # `missing`: id of the image that was last looked for.
    const uint8_t *at
    const uint8_t *end
    uint8_t *start
    uint8_t *out
    uint8_t *out_end
    const Images *images
    uint64_t id
    uint64_t missing
    const uint8_t *palette
    uint64_t per_unit
    uint64_t literal
    bint alpha
