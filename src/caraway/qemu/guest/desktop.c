/* What is on the screen: background, title, counter, lock lamps, typed text, marks of clicks. */
#include "guest.h"

enum { MARGIN = 24, BAR = 48, LINE = 96, LINES = 64, MARKS = 16, DIGITS = 7 };

static const uint32_t INK = 0xf2efe6, FAINT = 0x9fb3b8, AMBER = 0xffb84d, DARK = 0x0c1a22;

uint32_t counter;
static uint32_t shown;                  /* value of the counter on the screen */
static char lines[LINES][LINE + 1];     /* a ring; the last one is being typed */
static uint32_t line_count = 1;
static int length;
static struct {
    int x, y, button;
} marks[MARKS];
static uint32_t mark_count;

static int dot_size(void) { return screen_w >= 1024 ? 10 : screen_w >= 640 ? 8 : 4; }
static int text_scale(void) { return screen_w >= 640 ? 2 : 1; }
static int line_height(void) { return 11 * text_scale(); }

static Rect counter_panel(void)
{
    int size = dot_size();
    return (Rect){MARGIN, BAR + MARGIN, DIGITS * GLYPH_W * size - size + 2 * MARGIN, 7 * size + 2 * MARGIN + 20};
}

static Rect text_panel(void)
{
    Rect above = counter_panel();
    int top = above.y + above.h + MARGIN;
    return (Rect){MARGIN, top, screen_w - 2 * MARGIN, screen_h - MARGIN - top};
}

static Rect lamp_panel(void)
{
    Rect left = counter_panel();
    int x = left.x + left.w + MARGIN;
    return (Rect){x, left.y, screen_w - MARGIN - x, left.h};
}

static void digits(uint32_t value, char *to)
{
    for (int i = DIGITS; i--; value /= 10)
        to[i] = '0' + value % 10;
    to[DIGITS] = 0;
}

static char *append(char *to, const char *s)
{
    while (*s)
        *to++ = *s++;
    *to = 0;
    return to;
}

static char *append_number(char *to, unsigned value)
{
    char d[DIGITS + 1], *first = d;
    digits(value, d);
    while (*first == '0' && first[1])
        first++;
    return append(to, first);
}

/* A slope of colour with caraway seeds strewn over it, one in each cell of 72 pixels. */
static uint32_t background(int x, int y)
{
    static const signed char turns[8][2] = {{64, 0}, {59, 24}, {45, 45}, {24, 59}, {0, 64}, {-24, 59}, {-45, 45}, {-59, 24}};
    int t = (y * 3 + x) * 256 / (screen_h * 3 + screen_w);
    int r = 20 + t * 34 / 256, g = 58 + t * 52 / 256, b = 78 + t * 34 / 256;
    uint32_t seed = (uint32_t)(x / 72) * 2654435761u ^ (uint32_t)(y / 72) * 2246822519u;
    seed ^= seed >> 15;
    seed *= 2654435769u;
    seed ^= seed >> 13;
    int dx = x % 72 - 20 - (int)(seed % 32), dy = y % 72 - 20 - (int)(seed >> 8) % 32;
    const signed char *turn = turns[seed >> 20 & 7];
    int along = dx * turn[0] + dy * turn[1], across = dy * turn[0] - dx * turn[1];
    along /= 64;
    across /= 64;
    across += along * along / 64;       /* seeds are bent */
    if (along * along * 25 + across * across * 256 < 6400) {
        int lift = across == 0 ? 4 : 14;
        r += lift, g += lift, b += lift;
    }
    return r << 16 | g << 8 | b;
}

static void draw_background(void)
{
    for (int y = 0; y < screen_h; y++) {
        if (!is_visible((Rect){0, y, screen_w, 1}))
            continue;
        for (int x = 0; x < screen_w; x += 8)
            if (is_visible((Rect){x, y, 8, 1}))
                for (int i = x; i < x + 8; i++)
                    put(i, y, background(i, y));
    }
}

static void draw_bar(void)
{
    char status[48], *to = append_number(status, screen_w);
    to = append_number(append(to, "x"), screen_h);
    append(to, is_absolute ? "  absolute pointer" : "  relative pointer");
    if (!is_visible((Rect){0, 0, screen_w, BAR}))
        return;
    for (int y = 0; y < BAR; y++)
        for (int x = 0; x < screen_w; x++)
            shade(x, y, DARK, 170);
    fill((Rect){0, BAR, screen_w, 2}, AMBER);
    text(MARGIN, (BAR - 7 * text_scale()) / 2, text_scale(), INK, "Caraway demo guest");
    if (screen_w >= 480)
        text(screen_w - MARGIN - GLYPH_W * (int)(to - status + 18), (BAR - 7) / 2, 1, FAINT, status);
}

static void draw_counter(void)
{
    Rect r = counter_panel();
    char d[DIGITS + 1];
    panel(r, DARK, 160);
    text(r.x + MARGIN, r.y + 14, 1, FAINT, "COUNTER");
    digits(counter, d);
    shown = counter;
    dots(r.x + MARGIN, r.y + MARGIN + 12, dot_size(), AMBER, 0x2a3a40, d);
}

static void draw_lamps(void)
{
    static const char *const names[] = {"NUM", "CAPS", "SCROLL"};
    static const int bits[] = {LED_NUM, LED_CAPS, LED_SCROLL};
    Rect r = lamp_panel();
    if (r.w < 120)
        return;
    panel(r, DARK, 160);
    text(r.x + MARGIN, r.y + 14, 1, FAINT, "LOCKS");
    for (int i = 0; i < 3; i++) {
        int y = r.y + MARGIN + 14 + i * (r.h - MARGIN - 20) / 3, is_lit = leds & bits[i];
        panel((Rect){r.x + MARGIN, y, 17, 17}, is_lit ? 0x7ee081 : 0x2a3a40, 256);
        text(r.x + MARGIN + 28, y + 5, 1, is_lit ? INK : FAINT, names[i]);
    }
}

static void draw_text(void)
{
    Rect r = text_panel();
    int scale = text_scale(), rows = (r.h - 46) / line_height();
    if (r.h < 60)
        return;
    panel(r, DARK, 160);
    text(r.x + MARGIN, r.y + 14, 1, FAINT, "TYPE SOMETHING");
    if (rows > LINES)
        rows = LINES;
    uint32_t first = line_count > (uint32_t)rows ? line_count - rows : 0;
    for (uint32_t i = first; i < line_count; i++) {
        int y = r.y + 34 + (int)(i - first) * line_height(), is_last = i + 1 == line_count;
        text(r.x + MARGIN, y, scale, is_last ? INK : FAINT, lines[i % LINES]);
        if (is_last)
            fill((Rect){r.x + MARGIN + length * GLYPH_W * scale, y, 4 * scale, 7 * scale}, AMBER);
    }
}

static void draw_marks(void)
{
    static const uint32_t colours[] = {0xffb84d, 0x7ee081, 0xff6f61, 0xb39ddb};
    for (uint32_t i = mark_count > MARKS ? mark_count - MARKS : 0; i < mark_count; i++) {
        int cx = marks[i % MARKS].x, cy = marks[i % MARKS].y, button = marks[i % MARKS].button;
        if (!is_visible((Rect){cx - 10, cy - 10, 21, 21}))
            continue;
        for (int y = -10; y <= 10; y++)
            for (int x = -10; x <= 10; x++) {
                int d = x * x + y * y;
                if (d <= 6 || (d >= 56 && d <= 104))
                    put(cx + x, cy + y, colours[button >= 1 && button <= 3 ? button - 1 : 3]);
            }
    }
}

void desktop_scene(void)
{
    draw_background();
    draw_bar();
    draw_counter();
    draw_lamps();
    draw_text();
    draw_marks();
}

void desktop_reset(void) { screen_show((Rect){0, 0, screen_w, screen_h}); }
void desktop_leds(void) { screen_show(lamp_panel()); }
void desktop_status(void) { screen_show((Rect){screen_w / 2, 0, screen_w / 2, BAR}); }

void desktop_counter(void)
{
    char old[DIGITS + 1], new[DIGITS + 1];
    Rect r = counter_panel();
    int size = dot_size(), first = 0;
    digits(shown, old);
    digits(counter, new);
    while (first < DIGITS && old[first] == new[first])
        first++;
    if (first < DIGITS)
        screen_show((Rect){r.x + MARGIN + first * GLYPH_W * size, r.y + MARGIN + 12, (DIGITS - first) * GLYPH_W * size,
                           7 * size});
}

void desktop_key(int c)
{
    Rect r = text_panel();
    char *line = lines[(line_count - 1) % LINES];
    int scale = text_scale();
    int room = (r.w - 2 * MARGIN) / (GLYPH_W * scale) - 1;
    if (room > LINE)
        room = LINE;
    if (c == '\n') {
        say("@line %s", line);
        lines[line_count++ % LINES][0] = 0;
        length = 0;
        screen_show(r);
        return;
    }
    if (c == '\b' && length)
        line[--length] = 0;
    else if (c >= ' ' && c <= '~' && length < room)
        line[length++] = c;
    else
        return;
    line[length] = 0;
    int rows = (r.h - 46) / line_height(), used = (int)line_count < rows ? (int)line_count : rows;
    int x = r.x + MARGIN + (length - 1) * GLYPH_W * scale;
    screen_show((Rect){x, r.y + 34 + (used - 1) * line_height(), 3 * GLYPH_W * scale, line_height()});
}

void desktop_click(int x, int y, int button)
{
    uint32_t at = mark_count++ % MARKS;
    Rect gone = {marks[at].x - 10, marks[at].y - 10, 21, 21};
    marks[at].x = x;
    marks[at].y = y;
    marks[at].button = button;
    if (mark_count > MARKS)
        screen_show(gone);
    screen_show((Rect){x - 10, y - 10, 21, 21});
}
