/* What Cython cannot spell: unaligned loads and stores, counts of zeros, wide vectors, with portable fallbacks.
 *
 * Loads and stores are little-endian on every machine unless their name says otherwise.
 */
#pragma once

#include <stdint.h>
#include <string.h>
#if defined(__AVX2__) || defined(__LZCNT__)
#include <immintrin.h>
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define LITTLE16(value) __builtin_bswap16(value)
#define LITTLE32(value) __builtin_bswap32(value)
#define LITTLE64(value) __builtin_bswap64(value)
#define BIG32(value) (value)
#define BIG64(value) (value)
#else
#define LITTLE16(value) (value)
#define LITTLE32(value) (value)
#define LITTLE64(value) (value)
#define BIG32(value) __builtin_bswap32(value)
#define BIG64(value) __builtin_bswap64(value)
#endif

static inline int is_x86_64_v3(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("fma");
#else
    return 0;
#endif
}

static inline int is_x86_64_v4(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    return is_x86_64_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#else
    return 0;
#endif
}

static inline uint16_t load16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return LITTLE16(value);
}

static inline uint32_t load32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return LITTLE32(value);
}

static inline uint64_t load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return LITTLE64(value);
}

static inline uint32_t load32_big_endian(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return BIG32(value);
}

static inline uint64_t load64_big_endian(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return BIG64(value);
}

static inline void store16(uint8_t *at, uint16_t value)
{
    value = LITTLE16(value);
    memcpy(at, &value, sizeof value);
}

static inline void store32(uint8_t *at, uint32_t value)
{
    value = LITTLE32(value);
    memcpy(at, &value, sizeof value);
}

static inline void store64(uint8_t *at, uint64_t value)
{
    value = LITTLE64(value);
    memcpy(at, &value, sizeof value);
}

/* Of a value that is not 0. */
static inline int leading_zeros32(uint32_t value)
{
    return __builtin_clz(value);
}

/* Of 0: 63 or 64. */
static inline uint64_t leading_zeros64(uint64_t value)
{
#ifdef __LZCNT__
    return _lzcnt_u64(value);
#else
    return (uint64_t)__builtin_clzll(value | 1);
#endif
}

static inline int trailing_zeros64(uint64_t value)
{
    return __builtin_ctzll(value);
}

/* 32 bytes, to a place that they do not overlap. */
static inline void copy32(uint8_t *to, const uint8_t *from)
{
#ifdef __AVX2__
    _mm256_storeu_si256((__m256i *)to, _mm256_loadu_si256((const __m256i *)from));
#else
    memcpy(to, from, 32);
#endif
}

/* Eight pixels b, g, r to b, g, r, 0. Reads from[-4] to from[27]. */
static inline void expand_bgr8(uint8_t *to, const uint8_t *from)
{
#ifdef __AVX2__
    const __m256i places = _mm256_setr_epi8(4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1,
                                            0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    __m256i both = _mm256_loadu_si256((const __m256i *)(from - 4));
    _mm256_storeu_si256((__m256i *)to, _mm256_shuffle_epi8(both, places));
#else
    for (int i = 0; i < 8; i++)
        store32(to + 4 * i, load32(from + 3 * i) & 0xFFFFFF);
#endif
}

/* Eight pixels b, g, r, x to b, g, r. Writes to[0] to to[31], of which to[24] and beyond are void. */
static inline void pack_bgr8(uint8_t *to, const uint8_t *from)
{
#ifdef __AVX2__
    const __m256i places = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1,
                                            0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    __m256i halves = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)from), places);
    _mm256_storeu_si256((__m256i *)to, _mm256_permutevar8x32_epi32(halves, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7)));
#else
    for (int i = 0; i < 8; i++)
        store32(to + 3 * i, load32(from + 4 * i));
#endif
}

/* How many of 32 bytes are the same, up to the first that differs. */
static inline unsigned alike32(const uint8_t *one, const uint8_t *other)
{
#ifdef __AVX2__
    __m256i same = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)one),
                                     _mm256_loadu_si256((const __m256i *)other));
    return (unsigned)_tzcnt_u32(~(uint32_t)_mm256_movemask_epi8(same));
#else
    for (int i = 0; i < 32; i += 8) {
        uint64_t differences = load64(one + i) ^ load64(other + i);
        if (differences)
            return (unsigned)i + (unsigned)trailing_zeros64(differences) / 8;
    }
    return 32;
#endif
}

/* a * b + c, rounded after each of the two steps whatever the processor can do at once. */
static inline double multiply_add(double a, double b, double c)
{
    volatile double product = a * b;
    return product + c;
}

/* 16 bytes, to a place that they do not overlap. */
static inline void copy16(uint8_t *to, const uint8_t *from)
{
    memcpy(to, from, 16);
}

/* Eight times the same pixel of 4 bytes. */
static inline void fill8(uint8_t *to, uint32_t pixel)
{
    for (int i = 0; i < 8; i++)
        store32(to + 4 * i, pixel);
}

/* Sixteen big-endian pixels x1r5g5b5 to little-endian ones with x = 0. */
static inline void swap_555_16(uint8_t *to, const uint8_t *from)
{
    for (int i = 0; i < 4; i++) {
        uint64_t four = load64(from + 8 * i);
        store64(to + 8 * i, (four & 0x007F007F007F007F) << 8 | (four >> 8 & 0x00FF00FF00FF00FF));
    }
}

/* The same for raw words: 16 of them with their bytes exchanged. */
static inline void swap16_16(uint8_t *to, const uint8_t *from)
{
    for (int i = 0; i < 4; i++) {
        uint64_t four = load64(from + 8 * i);
        store64(to + 8 * i, (four & 0x00FF00FF00FF00FF) << 8 | (four >> 8 & 0x00FF00FF00FF00FF));
    }
}

/* Byte 3 of each pixel of 4 bytes becomes that pixel's byte of another plane. */
static inline void put_alpha(uint8_t *to, const uint8_t *alpha, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        store32(to + 4 * i, (load32(to + 4 * i) & 0xFFFFFF) | (uint32_t)alpha[i] << 24);
}

/* Byte 3 of each pixel of 4 bytes. */
static inline void take_alpha(uint8_t *to, const uint8_t *from, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        to[i] = (uint8_t)(load32(from + 4 * i) >> 24);
}

/* Exchange two regions that do not overlap. */
static inline void exchange(uint8_t *restrict one, uint8_t *restrict other, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = one[i];
        one[i] = other[i];
        other[i] = byte;
    }
}

/* How many leading bytes of 32 are the same, of the bits in `mask`, which repeats every 8 bytes. */
static inline int same_of_32(const uint8_t *one, const uint8_t *other, uint64_t mask)
{
#ifdef __AVX2__
    __m256i differing = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)one),
                                         _mm256_loadu_si256((const __m256i *)other));
    differing = _mm256_and_si256(differing, _mm256_set1_epi64x((long long)mask));
    uint32_t same = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(differing, _mm256_setzero_si256()));
    return __builtin_ctzll(~(uint64_t)same);
#else
    for (int i = 0; i < 32; i += 8) {
        uint64_t differing = (load64(one + i) ^ load64(other + i)) & mask;
        if (differing)
            return i + (trailing_zeros64(differing) >> 3);
    }
    return 32;
#endif
}

/* Matches of pixels of 4 bytes, most of which are short and repeat what has just been written: without branches that
 * depend on their length or distance, and without loads from places whose stores are still under way. */
#if defined(__AVX512F__)
enum { HAS_MATCHES = 1 };

/* The last 32 pixels before a place. */
typedef struct {
    __m512i older, newer;
} Recent;

/* By distance - 1: where among them the next 16 pixels are. */
static const uint32_t RECENT_PLACES[32][16] = {
    {31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31},
    {30, 31, 30, 31, 30, 31, 30, 31, 30, 31, 30, 31, 30, 31, 30, 31},
    {29, 30, 31, 29, 30, 31, 29, 30, 31, 29, 30, 31, 29, 30, 31, 29},
    {28, 29, 30, 31, 28, 29, 30, 31, 28, 29, 30, 31, 28, 29, 30, 31},
    {27, 28, 29, 30, 31, 27, 28, 29, 30, 31, 27, 28, 29, 30, 31, 27},
    {26, 27, 28, 29, 30, 31, 26, 27, 28, 29, 30, 31, 26, 27, 28, 29},
    {25, 26, 27, 28, 29, 30, 31, 25, 26, 27, 28, 29, 30, 31, 25, 26},
    {24, 25, 26, 27, 28, 29, 30, 31, 24, 25, 26, 27, 28, 29, 30, 31},
    {23, 24, 25, 26, 27, 28, 29, 30, 31, 23, 24, 25, 26, 27, 28, 29},
    {22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 22, 23, 24, 25, 26, 27},
    {21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 21, 22, 23, 24, 25},
    {20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 20, 21, 22, 23},
    {19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 19, 20, 21},
    {18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 18, 19},
    {17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 17},
    {16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31},
    {15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30},
    {14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29},
    {13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28},
    {12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27},
    {11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26},
    {10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25},
    {9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24},
    {8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23},
    {7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22},
    {6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21},
    {5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20},
    {4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19},
    {3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18},
    {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17},
    {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

/* By distance - 1: the most of 16 pixels after which everything repeats. */
static const uint8_t RECENT_WHOLE[16] = {16, 16, 15, 16, 15, 12, 14, 16, 9, 10, 11, 12, 13, 14, 15, 16};

/* From 128 bytes before `to`. */
static inline void recent_begin(Recent *recent, const uint8_t *to)
{
    recent->older = _mm512_loadu_si512(to - 128);
    recent->newer = _mm512_loadu_si512(to - 64);
}

/* Continue with the `length` pixels from `back` before `to`, or as often as they repeat. May write 16 pixels more. */
static inline void recent_match(Recent *recent, uint8_t *to, size_t back, size_t length)
{
    const __m512i places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    uint8_t *end = to + 4 * length;
    const uint8_t *from = to - 4 * back;
    __m512i pixels;
    if (back > 32)
        pixels = _mm512_loadu_si512(from);
    else
        pixels = _mm512_permutex2var_epi32(recent->older, _mm512_loadu_si512(RECENT_PLACES[back - 1]), recent->newer);
    _mm512_storeu_si512(to, pixels);
    if (length <= 16) {
        __m512i shifted = _mm512_add_epi32(places, _mm512_set1_epi32((int)length));
        recent->older = _mm512_permutex2var_epi32(recent->older, shifted, recent->newer);
        recent->newer = _mm512_permutex2var_epi32(recent->newer, shifted, pixels);
        return;
    }
    if (back <= 16) {
        size_t whole = 4 * RECENT_WHOLE[back - 1];
        while ((to += whole) < end)
            _mm512_storeu_si512(to, pixels);
    } else {
        for (to += 64, from += 64; to < end; to += 64, from += 64)
            _mm512_storeu_si512(to, _mm512_loadu_si512(from));
    }
    recent_begin(recent, end);
}
#elif defined(__AVX2__)
enum { HAS_MATCHES = 1 };

typedef struct {
    int unused;
} Recent;

/* By distance - 1, at most 7: the next 8 pixels and those behind, from the distance on or, in the last row, further. */
static const uint32_t REPEATED_FIRST[8][8] = {
    {0, 0, 0, 0, 0, 0, 0, 0},
    {0, 1, 0, 1, 0, 1, 0, 1},
    {0, 1, 2, 0, 1, 2, 0, 1},
    {0, 1, 2, 3, 0, 1, 2, 3},
    {0, 1, 2, 3, 4, 0, 1, 2},
    {0, 1, 2, 3, 4, 5, 0, 1},
    {0, 1, 2, 3, 4, 5, 6, 0},
    {0, 1, 2, 3, 4, 5, 6, 7}};
static const uint32_t REPEATED_SECOND[8][8] = {
    {0, 0, 0, 0, 0, 0, 0, 0},
    {0, 1, 0, 1, 0, 1, 0, 1},
    {2, 0, 1, 2, 0, 1, 2, 0},
    {0, 1, 2, 3, 0, 1, 2, 3},
    {3, 4, 0, 1, 2, 3, 4, 0},
    {2, 3, 4, 5, 0, 1, 2, 3},
    {1, 2, 3, 4, 5, 6, 0, 1},
    {0, 1, 2, 3, 4, 5, 6, 7}};

/* By distance - 1: a multiple of it, 8 pixels or more. */
static const uint8_t REPEATED_WHOLE[7] = {8, 8, 9, 8, 10, 12, 14};

static inline void recent_begin(Recent *recent, const uint8_t *to)
{
    (void)recent, (void)to;
}

static inline void recent_match(Recent *recent, uint8_t *to, size_t back, size_t length)
{
    (void)recent;
    const uint8_t *from = to - 4 * back;
    uint8_t *end = to + 4 * length;
    size_t row = back < 8 ? back - 1 : 7;
    __m256i first = _mm256_loadu_si256((const __m256i *)REPEATED_FIRST[row]);
    __m256i second = _mm256_loadu_si256((const __m256i *)REPEATED_SECOND[row]);
    _mm256_storeu_si256((__m256i *)to, _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const __m256i *)from), first));
    const uint8_t *next = from + (back < 8 ? 0 : 32);
    _mm256_storeu_si256((__m256i *)(to + 32),
                        _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const __m256i *)next), second));
    if (length <= 16)
        return;
    from = to + 64 - 4 * (back < 8 ? REPEATED_WHOLE[row] : back);
    for (to += 64; to < end; to += 32, from += 32)
        copy32(to, from);
}
#else
enum { HAS_MATCHES = 0 };

typedef struct {
    int unused;
} Recent;

static inline void recent_begin(Recent *recent, const uint8_t *to)
{
    (void)recent, (void)to;
}

static inline void recent_match(Recent *recent, uint8_t *to, size_t back, size_t length)
{
    (void)recent, (void)to, (void)back, (void)length;
}
#endif
