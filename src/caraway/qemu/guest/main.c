/* The demo guest: a small Multiboot kernel with a screen, a keyboard, a mouse and a serial line to command it. */
#include "guest.h"

static int is_frozen;
static uint32_t rate = 10, phase, beat_ticks, next_beat, beats;

static uint32_t milliseconds(void) { return ticks * (1000 / HZ); }

/* Takes a word off the front of a command; the empty string when there is none. */
static char *word(char **rest)
{
    while (**rest == ' ')
        (*rest)++;
    char *start = *rest;
    while (**rest && **rest != ' ')
        (*rest)++;
    if (**rest)
        *(*rest)++ = 0;
    return start;
}

static int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* A number up to 99999, -1 for anything else. */
static int number(const char *s)
{
    int value = 0;
    if (!*s)
        return -1;
    for (; *s; s++) {
        if (*s < '0' || *s > '9' || value > 9999)
            return -1;
        value = value * 10 + *s - '0';
    }
    return value;
}

static int set_mode(char **rest)
{
    int w = number(word(rest)), h = number(word(rest));
    if (!screen_mode(w, h))
        return 0;
    desktop_reset();
    input_stay_inside();
    return 1;
}

static int set_pointer(const char *to)
{
    if (!equal(to, "absolute") && !equal(to, "relative"))
        return 0;
    input_mode(equal(to, "absolute"));
    desktop_status();
    return 1;
}

static int set_reports(const char *to)
{
    if (!equal(to, "on") && !equal(to, "off"))
        return 0;
    reports_pointer = equal(to, "on");
    return 1;
}

static int set_rate(int value)
{
    if (value < 0 || value > HZ)
        return 0;
    rate = value;
    return 1;
}

static int set_heartbeat(int value)
{
    if (value < 0)
        return 0;
    beat_ticks = (value + 1000 / HZ - 1) / (1000 / HZ);
    next_beat = ticks + beat_ticks;
    beats = 0;
    return 1;
}

static void obey(char *line)
{
    char *rest = line, *name = word(&rest);
    if (equal(name, "hello"))
        say("@hello %u", milliseconds());
    else if (equal(name, "sum"))
        say("@sum %d %d %X", screen_w, screen_h, screen_crc());
    else if (equal(name, "count"))
        say("@count %u", counter);
    else if (equal(name, "quit")) {
        say("@bye");
        serial_drain();
        power_off();
    } else {
        int is_good = 1;
        if (equal(name, "freeze") || equal(name, "thaw"))
            is_frozen = equal(name, "freeze");
        else if (equal(name, "mode"))
            is_good = set_mode(&rest);
        else if (equal(name, "mouse"))
            is_good = set_pointer(word(&rest));
        else if (equal(name, "pointer"))
            is_good = set_reports(word(&rest));
        else if (equal(name, "rate"))
            is_good = set_rate(number(word(&rest)));
        else if (equal(name, "tick"))
            is_good = set_heartbeat(number(word(&rest)));
        else {
            say("@err unknown command: %s", name);
            return;
        }
        say(is_good ? "@ok" : "@err bad arguments: %s", name);
    }
}

static void keep_time(uint32_t elapsed)
{
    if (beat_ticks && (int32_t)(ticks - next_beat) >= 0) {
        next_beat += beat_ticks;
        say("@tick %u %u", ++beats, milliseconds());
    }
    if (is_frozen)
        return;
    phase += elapsed * rate;
    if (phase >= HZ) {
        counter += phase / HZ;
        phase %= HZ;
        desktop_counter();
    }
}

void kernel_main(const uint32_t *multiboot)
{
    char line[200];
    cpu_init();
    serial_init();
    __asm__ volatile("sti");
    if (!screen_init(0x100000 + multiboot[2] * 1024)) {
        say("@err no VGA device with a linear framebuffer");
        for (;;)
            __asm__ volatile("hlt");
    }
    screen_mode(800, 600);
    desktop_reset();
    input_init();
    desktop_status();
    say("@ready %dx%d", screen_w, screen_h);
    for (uint32_t seen = ticks;;) {
        __asm__ volatile("cli");
        if (seen == ticks && !input_pending() && !serial_pending())
            __asm__ volatile("sti; hlt" : : : "memory");
        __asm__ volatile("sti" : : : "memory");
        input_handle();
        if (serial_line(line, sizeof line))
            obey(line);
        uint32_t elapsed = ticks - seen;
        seen += elapsed;
        if (elapsed)
            keep_time(elapsed);
    }
}
