# The images of a GLZ window by id: a table that is indexed by the low bits of the id.
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free

cdef enum:
    # Up to here decoding and encoding take too short to let other threads run; in pixels.
    GLZ_FEW_PIXELS = 4096
    GLZ_MOST_SLOTS = 1 << 20


ctypedef struct Image:
    # An empty slot has no `units`. `type`: as in its header; `count`: how many units.
    uint64_t id
    const uint8_t *units
    uint64_t count
    int type


ctypedef struct Images:
    Image *slots
    uint64_t mask


cdef inline bint begin(Images *images) noexcept nogil:
    # False without memory.
    images.mask = 15
    images.slots = <Image *> calloc(images.mask + 1, sizeof(Image))
    return images.slots != NULL


cdef inline const Image *find(const Images *images, uint64_t id) noexcept nogil:
    # NULL if it is not there.
    cdef const Image *image = &images.slots[id & images.mask]
    return image if image.units != NULL and image.id == id else NULL


cdef inline bint put(Images *images, Image image) noexcept nogil:
    # False if the table would become too large, because ids are too far apart, or without memory.
    cdef Image *larger
    cdef uint64_t place, mask
    while images.slots[image.id & images.mask].units != NULL:
        mask = 2 * images.mask + 1
        if mask >= GLZ_MOST_SLOTS:
            return False
        larger = <Image *> calloc(mask + 1, sizeof(Image))
        if larger == NULL:
            return False
        for place in range(images.mask + 1):
            if images.slots[place].units != NULL:
                larger[images.slots[place].id & mask] = images.slots[place]
        free(images.slots)
        images.slots = larger
        images.mask = mask
    images.slots[image.id & images.mask] = image
    return True
