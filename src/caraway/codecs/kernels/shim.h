/* What Cython cannot spell: unaligned loads and stores, counts of zeros, wide vectors, with portable fallbacks.
 *
 * Loads and stores are little-endian on every machine unless their name says otherwise.
 */
#pragma once

#include <stdint.h>
#include <string.h>

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
static inline unsigned leading_zeros64(uint64_t value)
{
#ifdef __LZCNT__
    return value ? (unsigned)__builtin_clzll(value) : 64;
#else
    return (unsigned)__builtin_clzll(value | 1);
#endif
}

static inline int trailing_zeros64(uint64_t value)
{
    return __builtin_ctzll(value);
}
