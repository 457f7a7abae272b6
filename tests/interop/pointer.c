/* A program for a Linux guest that shows pointers: Linux's mode setting calls and nothing else, no library.
 *
 * It does what the words of the pipe /tmp/pointer say, one a line: `square`, `corner` (shapes), `right` (a move), `hide`, `quit`.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

enum { READ = 0, WRITE = 1, OPEN = 2, CLOSE = 3, MMAP = 9, IOCTL = 16, EXIT = 60 };
enum { SIDE = 64, IS_SHAPE = 1, IS_MOVE = 2 };

struct resources {
    u64 fbs, crtcs, connectors, encoders;
    u32 fb_count, crtc_count, connector_count, encoder_count, limits[4];
};
struct dumb { u32 height, width, bits, flags, handle, pitch; u64 size; };
struct map { u32 handle, pad; u64 offset; };
struct cursor { u32 flags, crtc; int x, y; u32 width, height, handle; int hot_x, hot_y; };

#define REQUEST(number, type) (0xc0000000u | sizeof(type) << 16 | 'd' << 8 | number)

static long call(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return number;
}

static void must(long result, int what)
{
    if (result < 0)
        call(EXIT, what, 0, 0, 0, 0, 0);
}

static long ask(long card, u32 request, void *data) { return call(IOCTL, card, request, (long)data, 0, 0, 0); }

void _start(void)
{
    u32 crtcs[8];
    struct resources found = {0};
    struct dumb buffer = {SIDE, SIDE, 32, 0, 0, 0, 0};
    struct map map = {0};
    struct cursor cursor = {0};
    long card = call(OPEN, (long)"/dev/dri/card0", 2, 0, 0, 0, 0);
    must(card, 1);
    found.crtcs = (u64)crtcs, found.crtc_count = 8;
    must(ask(card, REQUEST(0xa0, struct resources), &found), 2);
    must(ask(card, REQUEST(0xb2, struct dumb), &buffer), 3);
    map.handle = buffer.handle;
    must(ask(card, REQUEST(0xb3, struct map), &map), 4);
    u32 *pixels = (u32 *)call(MMAP, 0, buffer.size, 3, 1, card, map.offset);
    must((long)pixels, 5);
    must(buffer.pitch == 4 * SIDE ? 0 : -1, 8);
    cursor.crtc = crtcs[0], cursor.width = cursor.height = SIDE;
    for (;;) {
        char word[16];
        long pipe = call(OPEN, (long)"/tmp/pointer", 0, 0, 0, 0, 0);
        must(pipe, 6);
        long length = call(READ, pipe, (long)word, sizeof word, 0, 0, 0);
        call(CLOSE, pipe, 0, 0, 0, 0, 0);
        if (length <= 0)
            continue;
        if (word[0] == 's' || word[0] == 'c') {
            int side = word[0] == 's' ? SIDE : 8;
            for (int y = 0; y < SIDE; y++)
                for (int x = 0; x < SIDE; x++)
                    pixels[y * SIDE + x] = x < side && y < side ? 0xff000000 | x << 18 | y << 10 | 0x33 : 0;
            cursor.flags = IS_SHAPE | IS_MOVE, cursor.handle = buffer.handle;
            cursor.hot_x = side / 2, cursor.hot_y = 3, cursor.x = 100, cursor.y = 50;
        } else if (word[0] == 'r') {
            cursor.flags = IS_MOVE, cursor.x += 20;
        } else if (word[0] == 'h') {
            cursor.flags = IS_SHAPE, cursor.handle = 0;
        } else {
            call(EXIT, 0, 0, 0, 0, 0, 0);
        }
        must(ask(card, REQUEST(0xbb, struct cursor), &cursor), 7);
    }
}
