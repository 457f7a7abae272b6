/* The constants of QUIC (spec/quic.md 3, 5, 6, 7.5), and the step of its model that wants vectors.
 *
 * A row of eight numbers belongs to the codes 7..0 in this order: of equal ones the first is the best code.
 */
#pragma once

#include <stdint.h>
#if defined(__SSE4_1__)
#include <smmintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#define QUIC_MAGIC 0x43495551

static const uint8_t QUIC_CHAOS[256] = {
    2,  23, 19, 21, 7,  18, 40, 14, 12, 32, 47, 44, 36, 6,  18, 11, 4,  19, 42, 29, 16, 63, 57, 51, 16, 3,  5,  14, 15,
    30, 20, 9,  36, 45, 3,  57, 61, 0,  8,  5,  41, 14, 43, 27, 43, 59, 31, 35, 39, 60, 42, 38, 13, 54, 62, 1,  26, 3,
    11, 61, 52, 34, 7,  48, 4,  59, 22, 12, 22, 8,  50, 4,  10, 6,  44, 8,  11, 46, 31, 51, 53, 17, 1,  43, 46, 60, 36,
    54, 10, 27, 39, 44, 22, 41, 23, 2,  44, 0,  40, 53, 40, 48, 16, 43, 32, 28, 33, 12, 20, 2,  56, 62, 55, 58, 18, 20,
    13, 55, 38, 29, 57, 19, 49, 33, 47, 63, 59, 0,  35, 61, 19, 25, 46, 38, 60, 4,  35, 1,  26, 40, 28, 10, 5,  14, 25,
    18, 48, 49, 20, 59, 62, 34, 46, 7,  33, 52, 34, 58, 9,  29, 8,  55, 62, 60, 37, 36, 37, 50, 6,  3,  10, 28, 48, 24,
    26, 61, 57, 30, 11, 54, 2,  6,  50, 47, 7,  17, 35, 53, 32, 12, 23, 17, 5,  21, 49, 55, 51, 45, 52, 27, 39, 25, 39,
    63, 22, 24, 42, 52, 56, 38, 41, 41, 56, 32, 13, 24, 26, 51, 27, 56, 58, 37, 24, 42, 15, 28, 17, 30, 31, 15, 16, 23,
    25, 54, 33, 34, 1,  29, 31, 50, 53, 21, 49, 15, 47, 9,  0,  58, 37, 45, 30, 13, 9,  45, 63, 21};

/* By mask index. */
static const uint16_t QUIC_TRIGGER[7] = {110, 550, 900, 800, 550, 400, 350};

/* J of the spec: by run state. */
static const uint8_t QUIC_RUN_BITS[32] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3,  3,
                                          4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* Length of a run of so many 1 bits, from run state 0 on. */
static const uint32_t QUIC_RUN_TOTAL[56] = {
    0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 36, 44, 52, 60, 76, 92, 124, 156, 220, 284, 412, 540, 796,
    1308, 2332, 4380, 8476, 16668, 33052, 65820, 98588, 131356, 164124, 196892, 229660, 262428, 295196,
    327964, 360732, 393500, 426268, 459036, 491804, 524572, 557340, 590108, 622876, 655644, 688412, 721180,
    753948, 786716, 819484};

/* By code. */
static const uint8_t QUIC_PREFIX_8[8] = {18, 18, 18, 18, 15, 7, 3, 1};
static const uint8_t QUIC_SUFFIX_8[8] = {8, 8, 8, 7, 4, 5, 6, 7};
static const uint8_t QUIC_PREFIX_5[8] = {21, 15, 7, 3, 1};
static const uint8_t QUIC_SUFFIX_5[8] = {4, 1, 2, 3, 4};

#define QUIC_LENGTH(n, code, prefix, suffix) ((n) >> (code) < (prefix) ? ((n) >> (code)) + 1 + (code) : (prefix) + (suffix))
#define QUIC_LENGTHS_8(n)                                                                                  \
    {QUIC_LENGTH(n, 7, 1, 7),  QUIC_LENGTH(n, 6, 3, 6),  QUIC_LENGTH(n, 5, 7, 5),  QUIC_LENGTH(n, 4, 15, 4), \
     QUIC_LENGTH(n, 3, 18, 7), QUIC_LENGTH(n, 2, 18, 8), QUIC_LENGTH(n, 1, 18, 8), QUIC_LENGTH(n, 0, 18, 8)}
#define QUIC_LENGTHS_5(n)                                                                          \
    {0xFFFF, 0xFFFF, 0xFFFF, QUIC_LENGTH(n, 4, 1, 4), QUIC_LENGTH(n, 3, 3, 3), QUIC_LENGTH(n, 2, 7, 2), \
     QUIC_LENGTH(n, 1, 15, 1), QUIC_LENGTH(n, 0, 21, 4)}
#define QUIC_BUCKET(n, last) \
    ((n) >= (1 << (last)) - 1 ? (last) : (n) > 62 ? 6 : (n) > 30 ? 5 : (n) > 14 ? 4 : (n) > 6 ? 3 : (n) > 2 ? 2 : (n) > 0)
#define QUIC_BUCKET_8(n) QUIC_BUCKET(n, 7)
#define QUIC_BUCKET_5(n) QUIC_BUCKET(n, 4)
#define QUIC_8(of, n) of(n), of(n + 1), of(n + 2), of(n + 3), of(n + 4), of(n + 5), of(n + 6), of(n + 7)
#define QUIC_32(of, n) QUIC_8(of, n), QUIC_8(of, n + 8), QUIC_8(of, n + 16), QUIC_8(of, n + 24)
#define QUIC_256(of)                                                                                 \
    QUIC_32(of, 0), QUIC_32(of, 32), QUIC_32(of, 64), QUIC_32(of, 96), QUIC_32(of, 128), QUIC_32(of, 160), \
        QUIC_32(of, 192), QUIC_32(of, 224)

/* Bits of a symbol's code word, by symbol. A code that does not exist is never the shortest. */
static const uint16_t QUIC_LENGTHS_OF_8[256][8] = {QUIC_256(QUIC_LENGTHS_8)};
static const uint16_t QUIC_LENGTHS_OF_5[32][8] = {QUIC_32(QUIC_LENGTHS_5, 0)};

/* Bucket that a symbol selects for the next one. */
static const uint8_t QUIC_BUCKET_OF_8[256] = {QUIC_256(QUIC_BUCKET_8)};
static const uint8_t QUIC_BUCKET_OF_5[32] = {QUIC_32(QUIC_BUCKET_5, 0)};

/* Residual modulo 2^bits of a symbol, where its channel (r, g, b) lies in a 32-bit pixel. */
#define QUIC_UNFOLD(n, mask) ((uint32_t)((n) & 1 ? (mask) - ((n) >> 1) : (n) >> 1))
#define QUIC_RED_8(n) (QUIC_UNFOLD(n, 255) << 16)
#define QUIC_GREEN_8(n) (QUIC_UNFOLD(n, 255) << 8)
#define QUIC_BLUE_8(n) QUIC_UNFOLD(n, 255)
#define QUIC_RED_5(n) (QUIC_UNFOLD(n, 31) << 16)
#define QUIC_GREEN_5(n) (QUIC_UNFOLD(n, 31) << 8)
#define QUIC_BLUE_5(n) QUIC_UNFOLD(n, 31)
static const uint32_t QUIC_RESIDUAL_8[3][256] = {{QUIC_256(QUIC_RED_8)}, {QUIC_256(QUIC_GREEN_8)}, {QUIC_256(QUIC_BLUE_8)}};
static const uint32_t QUIC_RESIDUAL_5[3][256] = {
    {QUIC_32(QUIC_RED_5, 0)}, {QUIC_32(QUIC_GREEN_5, 0)}, {QUIC_32(QUIC_BLUE_5, 0)}};

/* The two highest codes, even and odd: length << 8 | symbol of the code word in the first of 9 bits. */
#define QUIC_WORD(length, first, bits, n) ((length) << 8 | ((first) + ((n) >> (9 - (length)) & ((1 << (bits)) - 1))))
#define QUIC_HIGHEST(n, code) ((n) & 256 ? QUIC_WORD(code + 1, 0, code, n) : QUIC_WORD(code + 1, 1 << code, code, n))
#define QUIC_SECOND(n, code)                                                                               \
    ((n) & 256   ? QUIC_WORD(code + 1, 0, code, n)                                                         \
     : (n) & 128 ? QUIC_WORD(code + 2, 1 << code, code, n)                                                 \
                 : QUIC_WORD(code + 3, (n) & 64 ? 2 << code : 3 << code, code, n))
#define QUIC_HIGHEST_8(n) QUIC_HIGHEST(n, 7)
#define QUIC_SECOND_8(n) QUIC_SECOND(n, 6)
#define QUIC_HIGHEST_5(n) QUIC_HIGHEST(n, 4)
#define QUIC_SECOND_5(n) QUIC_SECOND(n, 3)
#define QUIC_512(of) QUIC_256(of), QUIC_256_MORE(of)
#define QUIC_256_MORE(of)                                                                                   \
    QUIC_32(of, 256), QUIC_32(of, 288), QUIC_32(of, 320), QUIC_32(of, 352), QUIC_32(of, 384), QUIC_32(of, 416), \
        QUIC_32(of, 448), QUIC_32(of, 480)
static const uint16_t QUIC_HIGH_CODES_8[2][512] = {{QUIC_512(QUIC_SECOND_8)}, {QUIC_512(QUIC_HIGHEST_8)}};
static const uint16_t QUIC_HIGH_CODES_5[2][512] = {{QUIC_512(QUIC_HIGHEST_5)}, {QUIC_512(QUIC_SECOND_5)}};

/* Add eight lengths to eight counters (at most 0xFFFF) and find the first of the smallest: its number << 16 | its value. */
static inline uint32_t quic_count(uint16_t *counters, const uint16_t *lengths)
{
#ifdef __SSE2__
    __m128i sums = _mm_adds_epu16(_mm_loadu_si128((const __m128i *)counters), _mm_loadu_si128((const __m128i *)lengths));
    _mm_storeu_si128((__m128i *)counters, sums);
#endif
#if defined(__SSE4_1__)
    return (uint32_t)_mm_cvtsi128_si32(_mm_minpos_epu16(sums));
#elif defined(__SSE2__)
    /* a - max(0, a - b) is the smaller one. */
    __m128i least = sums;
    least = _mm_sub_epi16(least, _mm_subs_epu16(least, _mm_shuffle_epi32(least, 0x4E)));
    least = _mm_sub_epi16(least, _mm_subs_epu16(least, _mm_shuffle_epi32(least, 0xB1)));
    least = _mm_sub_epi16(least, _mm_subs_epu16(least, _mm_shufflehi_epi16(_mm_shufflelo_epi16(least, 0xB1), 0xB1)));
    uint32_t where = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi16(sums, least));
    return ((uint32_t)_mm_cvtsi128_si32(least) & 0xFFFF) | (uint32_t)__builtin_ctz(where) << 15;
#else
    uint32_t least = UINT32_MAX;
    for (uint32_t at = 0; at < 8; at++) {
        uint32_t sum = (uint32_t)counters[at] + lengths[at];
        sum = sum < 0xFFFF ? sum : 0xFFFF;
        counters[at] = (uint16_t)sum;
        uint32_t candidate = sum << 16 | at;
        least = candidate < least ? candidate : least;
    }
    return least >> 16 | least << 16;
#endif
}
