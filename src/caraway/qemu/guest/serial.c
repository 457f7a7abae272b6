/* COM1: lines out through a ring that drops whole lines when nobody reads, commands in. */
#include <stdarg.h>

#include "guest.h"

enum { COM1 = 0x3f8, RING = 8192 };

static struct {
    char data[RING];
    volatile uint32_t head, tail;       /* written at head, read at tail; both only grow */
} out, in;
static volatile uint32_t line_ends;     /* received and not yet taken */

static void fill_fifo(void)
{
    if (!(inb(COM1 + 5) & 0x20))
        return;
    for (int i = 0; i < 16 && out.tail != out.head; i++, out.tail++)
        outb(COM1, out.data[out.tail % RING]);
}

static __attribute__((interrupt)) void on_serial(struct frame *f)
{
    (void)f;
    while (!(inb(COM1 + 2) & 1)) {
        while (inb(COM1 + 5) & 1) {
            char c = inb(COM1);
            if (in.head - in.tail == RING)
                continue;
            in.data[in.head++ % RING] = c;
            line_ends += c == '\n';
        }
        fill_fifo();
    }
    end_of_irq(4);
}

void serial_init(void)
{
    static const uint8_t setup[][2] = {{1, 0}, {3, 0x80}, {0, 1}, {1, 0}, {3, 3}, {2, 0xc7}, {4, 0x0b}, {1, 3}};
    for (unsigned i = 0; i < sizeof setup / sizeof *setup; i++)
        outb(COM1 + setup[i][0], setup[i][1]);
    set_irq(4, on_serial);
}

int serial_pending(void) { return line_ends > 0 || in.head - in.tail == RING; }

int serial_line(char *line, int size)
{
    int length = 0, was_taken = 0;
    if (!serial_pending())
        return 0;
    while (in.tail != in.head && !was_taken) {
        char c = in.data[in.tail++ % RING];
        was_taken = c == '\n';
        if (c >= ' ' && length < size - 1)
            line[length++] = c;
    }
    line[length] = 0;
    __asm__ volatile("cli");
    line_ends -= was_taken;
    __asm__ volatile("sti");
    return was_taken;
}

void serial_drain(void)
{
    for (uint32_t until = ticks + HZ; out.tail != out.head && (int32_t)(until - ticks) > 0;)
        __asm__ volatile("hlt");
}

static char *number(char *to, uint32_t value, unsigned base, int digits)
{
    char reversed[12];
    int n = 0;
    do
        reversed[n++] = "0123456789abcdef"[value % base];
    while ((value /= base) || n < digits);
    while (n)
        *to++ = reversed[--n];
    return to;
}

/* One line; knows %d, %u, %s, %x (two digits or more) and %X (eight). */
void say(const char *format, ...)
{
    char line[256], *to = line;
    va_list arguments;
    va_start(arguments, format);
    for (; *format && to < line + 200; format++) {
        if (*format != '%') {
            *to++ = *format;
            continue;
        }
        switch (*++format) {
        case 'd': {
            int value = va_arg(arguments, int);
            if (value < 0)
                *to++ = '-';
            to = number(to, value < 0 ? -(uint32_t)value : (uint32_t)value, 10, 1);
            break;
        }
        case 'u':
            to = number(to, va_arg(arguments, uint32_t), 10, 1);
            break;
        case 'x':
            to = number(to, va_arg(arguments, uint32_t), 16, 2);
            break;
        case 'X':
            to = number(to, va_arg(arguments, uint32_t), 16, 8);
            break;
        case 's':
            for (const char *s = va_arg(arguments, const char *); *s && to < line + 200; s++)
                *to++ = *s;
        }
    }
    va_end(arguments);
    *to++ = '\n';
    uint32_t length = to - line;
    if (RING - (out.head - out.tail) < length)
        return;
    for (uint32_t i = 0; i < length; i++)
        out.data[(out.head + i) % RING] = line[i];
    __asm__ volatile("cli" : : : "memory");
    out.head += length;
    fill_fifo();
    __asm__ volatile("sti");
}
