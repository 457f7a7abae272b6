/* The framebuffer (Bochs VBE ports), a picture of the scene in RAM, and the pointer that lies over it.

The scene is drawn anew within the area that changed; only pixels that differ reach the framebuffer, so a guest at
rest makes no display traffic. */
#include "font.h"
#include "guest.h"

enum { DISPI_XRES = 1, DISPI_YRES, DISPI_BPP, DISPI_ENABLE, DISPI_MEMORY = 10 };

int screen_w, screen_h;
static uint32_t *framebuffer, *picture;
static uint32_t largest;                /* picture in bytes that both memories can hold */
static Rect clip;
static int pointer_x, pointer_y;

static const char *const arrow[] = {
    "#",           "##",          "#.#",          "#..#",         "#...#",      "#....#",     "#.....#",
    "#......#",    "#.......#",   "#........#",   "#.........#",  "#......####", "#...#..#",  "#..##..#",
    "#.# #...#",   "##  #...#",   "#    #...#",   "      ###",
};
enum { ARROW_W = 12, ARROW_H = sizeof arrow / sizeof *arrow };

static void dispi(int index, int value)
{
    outw(0x1ce, index);
    outw(0x1cf, value);
}

static uint16_t read_dispi(int index)
{
    outw(0x1ce, index);
    return inw(0x1cf);
}

static uint32_t pci(int slot, int offset)
{
    outl(0xcf8, 0x80000000u | slot << 11 | offset);
    return inl(0xcfc);
}

/* Finds the VGA device on the first bus; its first BAR is the linear framebuffer. */
int screen_init(uint32_t memory_end)
{
    extern char end[];
    picture = (uint32_t *)(((uint32_t)end + 4095) & ~4095u);
    largest = memory_end - (uint32_t)picture;
    uint32_t memory = read_dispi(DISPI_MEMORY) << 16;
    if (memory < largest)
        largest = memory;
    for (int slot = 0; slot < 32 && !framebuffer; slot++)
        if (pci(slot, 0) != 0xffffffff && pci(slot, 8) >> 16 == 0x0300)
            framebuffer = (uint32_t *)(pci(slot, 0x10) & ~15u);
    return framebuffer && (read_dispi(0) & 0xfff0) == 0xb0c0;
}

int screen_mode(int w, int h)
{
    if (w < 320 || w > 4096 || w % 8 || h < 200 || h > 4096 || (uint32_t)(w * h * 4) > largest)
        return 0;
    dispi(DISPI_ENABLE, 0);
    dispi(DISPI_XRES, w);
    dispi(DISPI_YRES, h);
    dispi(DISPI_BPP, 32);
    dispi(DISPI_ENABLE, 0x41);          /* linear framebuffer */
    screen_w = w;
    screen_h = h;
    return 1;
}

static Rect cut(Rect a, Rect b)
{
    int x = a.x > b.x ? a.x : b.x, y = a.y > b.y ? a.y : b.y;
    int right = a.x + a.w < b.x + b.w ? a.x + a.w : b.x + b.w;
    int bottom = a.y + a.h < b.y + b.h ? a.y + a.h : b.y + b.h;
    return (Rect){x, y, right > x ? right - x : 0, bottom > y ? bottom - y : 0};
}

static uint32_t with_pointer(int x, int y, uint32_t under)
{
    unsigned column = x - pointer_x, row = y - pointer_y;
    if (column >= ARROW_W || row >= ARROW_H)
        return under;
    const char *dots = arrow[row];
    for (unsigned i = 0; i < column; i++)
        if (!dots[i])
            return under;
    return dots[column] == '#' ? 0x101418 : dots[column] == '.' ? 0xffffff : under;
}

static void flush(Rect area)
{
    area = cut(area, (Rect){0, 0, screen_w, screen_h});
    for (int y = area.y; y < area.y + area.h; y++)
        for (int x = area.x; x < area.x + area.w; x++) {
            uint32_t at = y * screen_w + x, pixel = with_pointer(x, y, picture[at]);
            if (framebuffer[at] != pixel)
                framebuffer[at] = pixel;
        }
}

void screen_show(Rect area)
{
    clip = cut(area, (Rect){0, 0, screen_w, screen_h});
    desktop_scene();
    flush(clip);
}

void screen_pointer(int x, int y)
{
    Rect old = {pointer_x, pointer_y, ARROW_W, ARROW_H};
    if (x == pointer_x && y == pointer_y)
        return;
    pointer_x = x;
    pointer_y = y;
    flush(old);
    flush((Rect){x, y, ARROW_W, ARROW_H});
}

/* CRC-32 of the screen's R, G, B bytes in rows, as zlib has it. */
uint32_t screen_crc(void)
{
    static uint32_t table[256];
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320 : 0);
    }
    uint32_t crc = 0xffffffff;
    for (int i = 0; i < screen_w * screen_h; i++)
        for (int shift = 16; shift >= 0; shift -= 8)
            crc = crc >> 8 ^ table[(crc ^ framebuffer[i] >> shift) & 0xff];
    return ~crc;
}

int is_visible(Rect r) { return cut(r, clip).w && cut(r, clip).h; }

void put(int x, int y, uint32_t rgb)
{
    if (x >= clip.x && y >= clip.y && x < clip.x + clip.w && y < clip.y + clip.h)
        picture[y * screen_w + x] = rgb;
}

/* Mixes a colour into a pixel, alpha 0..256. */
void shade(int x, int y, uint32_t rgb, int alpha)
{
    if (x < clip.x || y < clip.y || x >= clip.x + clip.w || y >= clip.y + clip.h)
        return;
    uint32_t *pixel = &picture[y * screen_w + x], mixed = 0;
    for (int shift = 0; shift < 24; shift += 8) {
        int below = *pixel >> shift & 0xff, above = rgb >> shift & 0xff;
        mixed |= (uint32_t)(below + (above - below) * alpha / 256) << shift;
    }
    *pixel = mixed;
}

void fill(Rect r, uint32_t rgb)
{
    r = cut(r, clip);
    for (int y = r.y; y < r.y + r.h; y++)
        for (int x = r.x; x < r.x + r.w; x++)
            picture[y * screen_w + x] = rgb;
}

/* A translucent rectangle with round corners. */
void panel(Rect r, uint32_t rgb, int alpha)
{
    enum { RADIUS = 8 };
    Rect seen = cut(r, clip);
    for (int y = seen.y; y < seen.y + seen.h; y++)
        for (int x = seen.x; x < seen.x + seen.w; x++) {
            int left = x - r.x, right = r.x + r.w - 1 - x, up = y - r.y, down = r.y + r.h - 1 - y;
            int dx = RADIUS - (left < right ? left : right), dy = RADIUS - (up < down ? up : down);
            if (dx <= 0 || dy <= 0 || dx * dx + dy * dy <= RADIUS * RADIUS)
                shade(x, y, rgb, alpha);
        }
}

static const unsigned char *glyph(char c) { return font[(c < ' ' || c > '~' ? '?' : c) - ' ']; }

void text(int x, int y, int scale, uint32_t rgb, const char *s)
{
    for (; *s; s++, x += GLYPH_W * scale)
        if (is_visible((Rect){x, y, GLYPH_W * scale, GLYPH_H * scale}))
            for (int row = 0; row < 9; row++)
                for (int column = 0; column < 5; column++)
                    if (glyph(*s)[row] >> (4 - column) & 1)
                        fill((Rect){x + column * scale, y + row * scale, scale, scale}, rgb);
}

/* Text as a panel of lamps, lit or not, seven rows of five for a character. */
void dots(int x, int y, int size, uint32_t lit, uint32_t unlit, const char *s)
{
    for (; *s; s++, x += GLYPH_W * size)
        if (is_visible((Rect){x, y, GLYPH_W * size, 7 * size}))
            for (int row = 0; row < 7; row++)
                for (int column = 0; column < 5; column++)
                    fill((Rect){x + column * size, y + row * size, size - 1, size - 1},
                         glyph(*s)[row] >> (4 - column) & 1 ? lit : unlit);
}
