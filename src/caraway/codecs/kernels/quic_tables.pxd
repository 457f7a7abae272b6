# The model of QUIC that coder and decoder share (spec/quic.md 3, 5, 6); constants: see quic_tables.h.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset

cdef extern from "quic_tables.h" nogil:
    const uint8_t QUIC_CHAOS[256]
    const uint16_t QUIC_TRIGGER[7]
    const uint8_t QUIC_RUN_BITS[32]
    const uint32_t QUIC_RUN_TOTAL[56]
    const uint8_t *QUIC_PREFIX_8
    const uint8_t *QUIC_SUFFIX_8
    const uint8_t *QUIC_PREFIX_5
    const uint8_t *QUIC_SUFFIX_5
    const uint16_t QUIC_LENGTHS_OF_8[256][8]
    const uint16_t QUIC_LENGTHS_OF_5[32][8]
    const uint8_t *QUIC_BUCKET_OF_8
    const uint8_t *QUIC_BUCKET_OF_5
    const uint32_t QUIC_RESIDUAL_8[3][256]
    const uint32_t QUIC_RESIDUAL_5[3][256]
    const uint16_t QUIC_HIGH_CODES_8[2][512]
    const uint16_t QUIC_HIGH_CODES_5[2][512]
    uint32_t quic_count(uint16_t *counters, const uint16_t *lengths)


ctypedef struct Family:
    # The codes for `bits` bits per channel.
    int bits
    const uint8_t *prefix
    const uint8_t *suffix
    const uint16_t *lengths
    const uint8_t *bucket


ctypedef struct Model:
    # Of one channel. `code`: best code by the previous symbol; counters: rows of quic_tables.h.
    uint8_t code[256]
    uint16_t counters[8][8]


ctypedef struct State:
    # Shared by the channels of a pixel, as the spec names it; T is QUIC_TRIGGER[wm].
    uint32_t wait
    uint32_t seed
    uint32_t wm
    uint32_t wmleft
    uint32_t mel


cdef inline Family family_of(int bits) noexcept nogil:
    cdef Family family
    family.bits = bits
    family.prefix = &QUIC_PREFIX_8[0] if bits == 8 else &QUIC_PREFIX_5[0]
    family.suffix = &QUIC_SUFFIX_8[0] if bits == 8 else &QUIC_SUFFIX_5[0]
    family.lengths = &QUIC_LENGTHS_OF_8[0][0] if bits == 8 else &QUIC_LENGTHS_OF_5[0][0]
    family.bucket = &QUIC_BUCKET_OF_8[0] if bits == 8 else &QUIC_BUCKET_OF_5[0]
    return family


cdef inline void reset_model(Model *model, int bits) noexcept nogil:
    memset(model.code, bits - 1, sizeof(model.code))
    memset(model.counters, 0, sizeof(model.counters))


cdef inline void reset_state(State *state) noexcept nogil:
    state.wait = 0
    state.seed = 255
    state.wm = 0
    state.wmleft = 2048
    state.mel = 0


cdef inline uint32_t rnd(State *state) noexcept nogil:
    state.seed = (state.seed + 1) & 255
    return QUIC_CHAOS[state.seed] & ((1 << state.wm) - 1)


cdef inline void set_code(Model *model, const Family *family, uint32_t bucket, uint8_t best) noexcept nogil:
    memset(model.code + (1 << bucket) - 1, best, (1 << bucket) + (bucket == <uint32_t> (family.bits - 1)))


cdef inline bint update(Model *model, const Family *family, uint32_t trigger, uint32_t previous, uint32_t symbol) noexcept nogil:
    # Learn that `symbol` followed `previous`; says whether the best code of `previous` became another.
    cdef uint32_t bucket = family.bucket[previous], least
    cdef uint16_t *counters = model.counters[bucket]
    cdef uint8_t best
    cdef int at
    least = quic_count(counters, family.lengths + 8 * symbol)
    best = <uint8_t> (7 - (least >> 16))
    if (least & 0xFFFF) > trigger:
        for at in range(8):
            counters[at] >>= 1
    if best == model.code[previous]:
        return False
    set_code(model, family, bucket, best)
    return True
