/* PS/2 keyboard and mouse behind the i8042, and VMware's absolute pointer, which QEMU's PC has. */
#include "guest.h"

enum { RING = 1024, FROM_MOUSE = 0x100 };

int leds, is_absolute, reports_pointer;
static uint16_t ring[RING];
static volatile uint32_t head, tail;
static int pointer_x, pointer_y, buttons;

static void on_ps2(void)
{
    for (uint8_t status; (status = inb(0x64)) & 1;) {
        uint16_t byte = inb(0x60) | (status & 0x20 ? FROM_MOUSE : 0);
        if (head - tail < RING)
            ring[head++ % RING] = byte;
    }
}

static __attribute__((interrupt)) void on_keyboard(struct frame *f) { (void)f; on_ps2(); end_of_irq(1); }
static __attribute__((interrupt)) void on_mouse(struct frame *f) { (void)f; on_ps2(); end_of_irq(12); }

int input_pending(void) { return head != tail; }

static void write_i8042(uint16_t port, uint8_t value)
{
    for (int i = 0; i < 100000 && inb(0x64) & 2; i++)
        ;
    outb(port, value);
}

static int read_i8042(void)
{
    for (int i = 0; i < 100000; i++)
        if (inb(0x64) & 1)
            return inb(0x60);
    return -1;
}

static int tell_mouse(uint8_t value)
{
    write_i8042(0x64, 0xd4);
    write_i8042(0x60, value);
    return read_i8042();
}

/* VMware's backdoor: a command in ECX, an argument in EBX, four words back. */
static uint32_t backdoor(uint32_t command, uint32_t argument, uint32_t answer[4])
{
    uint32_t a = 0x564d5868, b = argument, c = command, d = 0x5658, source, destination;
    __asm__ volatile("inl %%dx, %%eax" : "+a"(a), "+b"(b), "+c"(c), "+d"(d), "=S"(source), "=D"(destination) : : "memory");
    answer[0] = a, answer[1] = b, answer[2] = c, answer[3] = d;
    return a;
}

enum { VMMOUSE_DATA = 39, VMMOUSE_STATUS = 40, VMMOUSE_COMMAND = 41 };

void input_mode(int absolute)
{
    uint32_t answer[4];
    is_absolute = absolute;
    if (!absolute) {
        backdoor(VMMOUSE_COMMAND, 0xf5, answer);
        return;
    }
    backdoor(VMMOUSE_COMMAND, 0x45414552, answer);
    backdoor(VMMOUSE_DATA, 1, answer);  /* the version */
    backdoor(VMMOUSE_COMMAND, 0x53424152, answer);
}

void input_init(void)
{
    static const uint8_t wake[] = {0xf6, 0xf3, 200, 0xf3, 200, 0xf3, 80, 0xf2};  /* defaults; asks for five buttons and a wheel */
    write_i8042(0x64, 0xad);
    write_i8042(0x64, 0xa8);
    while (inb(0x64) & 1)
        inb(0x60);
    for (unsigned i = 0; i < sizeof wake; i++)
        tell_mouse(wake[i]);
    read_i8042();                       /* what it says it is: 4 */
    tell_mouse(0xf3);
    tell_mouse(100);
    tell_mouse(0xf4);
    write_i8042(0x64, 0x60);
    write_i8042(0x60, 0x47);            /* both interrupts, translation to set 1 */
    write_i8042(0x64, 0xae);
    set_irq(1, on_keyboard);
    set_irq(12, on_mouse);
    pointer_x = screen_w / 2;
    pointer_y = screen_h / 2;
    screen_pointer(pointer_x, pointer_y);
    input_mode(1);
}

static void press(int is_down, int bit, int number)
{
    if (!(buttons & bit) == !is_down)
        return;
    buttons ^= bit;
    say("@button %d %s %d %d", number, is_down ? "down" : "up", pointer_x, pointer_y);
    if (is_down)
        desktop_click(pointer_x, pointer_y, number);
}

/* Buttons carry SPICE's numbers: 1 left, 2 middle, 3 right, 6 side, 7 extra. */
static void press_all(int now)
{
    static const struct {
        int bit, number;
    } known[] = {{1, 1}, {4, 2}, {2, 3}, {16, 6}, {32, 7}};
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
        press(now & known[i].bit, known[i].bit, known[i].number);
}

static void move(int x, int y)
{
    pointer_x = x < 0 ? 0 : x >= screen_w ? screen_w - 1 : x;
    pointer_y = y < 0 ? 0 : y >= screen_h ? screen_h - 1 : y;
    screen_pointer(pointer_x, pointer_y);
}

void input_stay_inside(void) { move(pointer_x, pointer_y); }

static void handle_absolute(void)
{
    uint32_t answer[4];
    for (;;) {
        uint32_t status = backdoor(VMMOUSE_STATUS, 0, answer);
        if (status >> 16 == 0xffff) {   /* its queue overflowed */
            input_mode(1);
            return;
        }
        if ((status & 0xffff) < 4)
            return;
        backdoor(VMMOUSE_DATA, 4, answer);
        /* QEMU rounded down when it scaled the pixel, so round up */
        int x = (int)(((answer[1] & 0xffff) * (uint32_t)screen_w + 0xffff) >> 16);
        int y = (int)(((answer[2] & 0xffff) * (uint32_t)screen_h + 0xffff) >> 16);
        if (reports_pointer && (x != pointer_x || y != pointer_y))
            say("@pointer %d %d", x, y);
        move(x, y);
        press_all((answer[0] & 0x20 ? 1 : 0) | (answer[0] & 0x10 ? 2 : 0) | (answer[0] & 0x08 ? 4 : 0));
        if (answer[3])
            say("@wheel %d", -(int)answer[3]);
    }
}

static void handle_relative(const uint8_t packet[4])
{
    int dx = packet[1] - (packet[0] & 0x10 ? 256 : 0), dy = (packet[0] & 0x20 ? 256 : 0) - packet[2];
    int wheel = (packet[3] & 7) - (packet[3] & 8);
    if (reports_pointer && (dx || dy))
        say("@motion %d %d", dx, dy);
    move(pointer_x + dx, pointer_y + dy);
    press_all((packet[0] & 7) | (packet[3] & 0x30));
    if (wheel)
        say("@wheel %d", -wheel);
}

static void handle_mouse(uint8_t byte)
{
    static uint8_t packet[4];
    static int length;
    if (length == 0 && !(byte & 8))
        return;
    packet[length++] = byte;
    if (length == 4) {
        length = 0;
        if (!is_absolute)
            handle_relative(packet);
    }
    if (is_absolute)
        handle_absolute();
}

enum { CTRL = 0x1d, LEFT_SHIFT = 0x2a, RIGHT_SHIFT = 0x36, ALT = 0x38, CAPS_LOCK = 0x3a, NUM_LOCK = 0x45, SCROLL_LOCK = 0x46 };

/* US layout by set-1 scancode: plain, shifted; then the keypad with Num Lock. */
static const char plain[] = "\0\0331234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] = "\0\033!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";
static const char keypad[] = "789-456+1230.";

/* Setting lamps takes a command and a value, each acknowledged; a change meanwhile has to wait. */
static enum { LEDS_DONE, LEDS_COMMAND, LEDS_VALUE } led_step;
static int leds_told;

static void tell_leds(void)
{
    led_step = LEDS_COMMAND;
    write_i8042(0x60, 0xed);
}

static void handle_acknowledge(void)
{
    if (led_step == LEDS_COMMAND) {
        led_step = LEDS_VALUE;
        leds_told = leds;
        write_i8042(0x60, leds);
    } else if (led_step == LEDS_VALUE) {
        led_step = LEDS_DONE;
        if (leds_told != leds)
            tell_leds();
    }
}

static void set_leds(int value)
{
    leds = value;
    say("@led %d", leds);
    desktop_leds();
    if (led_step == LEDS_DONE)
        tell_leds();
}

static int character(int code, int is_extended, int has_shift)
{
    if (is_extended)
        return code == 0x1c ? '\n' : code == 0x35 ? '/' : 0;
    if (code >= 0x47 && code < 0x47 + (int)sizeof keypad - 1) {
        int c = keypad[code - 0x47];
        return leds & LED_NUM || c == '-' || c == '+' ? c : 0;
    }
    if (code >= (int)sizeof plain - 1)
        return 0;
    int c = plain[code];
    if (c >= 'a' && c <= 'z' && leds & LED_CAPS)
        has_shift = !has_shift;
    return has_shift ? shifted[code] : c;
}

static void handle_key(int prefix, int code, int is_down)
{
    static int shifts, modifiers;       /* bits of held keys: left and right, each of both kinds */
    const char *change = is_down ? "down" : "up";
    if (prefix)
        say("@key %x%x %s", prefix, code, change);
    else
        say("@key %x %s", code, change);
    int bit = 0;
    int *held = &shifts;
    if (!prefix && (code == LEFT_SHIFT || code == RIGHT_SHIFT))
        bit = code == LEFT_SHIFT ? 1 : 2;
    else if (code == CTRL || code == ALT) {
        held = &modifiers;
        bit = (code == CTRL ? 1 : 2) << (prefix ? 2 : 0);
    }
    if (bit) {
        *held = is_down ? *held | bit : *held & ~bit;
        return;
    }
    if (!is_down || prefix > 0xe0)
        return;
    if (!prefix && (code == CAPS_LOCK || code == NUM_LOCK || code == SCROLL_LOCK)) {
        set_leds(leds ^ (code == CAPS_LOCK ? LED_CAPS : code == NUM_LOCK ? LED_NUM : LED_SCROLL));
        return;
    }
    int c = character(code, prefix == 0xe0, shifts != 0);
    if (c && !modifiers)
        desktop_key(c == '\t' ? ' ' : c);
}

static void handle_keyboard(uint8_t byte)
{
    static int prefix, pause;
    if (byte == 0xfa) {
        handle_acknowledge();
        return;
    }
    if (byte == 0xe0 || byte == 0xe1) {
        prefix = byte;
        pause = 0;
        return;
    }
    if (prefix == 0xe1 && !pause) {     /* Pause is one key of two codes after its prefix */
        pause = byte & 0x7f;
        return;
    }
    handle_key(prefix == 0xe1 ? 0xe100 | pause : prefix, byte & 0x7f, !(byte & 0x80));
    prefix = pause = 0;
}

void input_handle(void)
{
    while (head != tail) {
        uint16_t byte = ring[tail++ % RING];
        if (byte & FROM_MOUSE)
            handle_mouse(byte);
        else
            handle_keyboard(byte);
    }
}
