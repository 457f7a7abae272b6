/* Interrupts, the 100 Hz clock and the power switch. */
#include "guest.h"

static struct {
    uint16_t low, selector, type, high;
} __attribute__((packed)) idt[48];

volatile uint32_t ticks;

struct frame {
    uint32_t ip, cs, flags;
};

static void set_gate(int vector, uint32_t address)
{
    idt[vector].low = address & 0xffff;
    idt[vector].selector = 8;
    idt[vector].type = 0x8e00;
    idt[vector].high = address >> 16;
}

void end_of_irq(int irq)
{
    if (irq >= 8)
        outb(0xa0, 0x20);
    outb(0x20, 0x20);
}

void set_irq(int irq, Handler *handler)
{
    set_gate(32 + irq, (uint32_t)handler);
    if (irq >= 8)
        outb(0xa1, inb(0xa1) & ~(1 << (irq - 8)));
    else
        outb(0x21, inb(0x21) & ~(1 << irq));
}

/* A 7 or 15 that no device asked for; it is masked, so this is the controller's own and gets no end-of-interrupt. */
static __attribute__((interrupt)) void on_spurious(struct frame *f) { (void)f; }

static __attribute__((interrupt)) void on_clock(struct frame *f)
{
    (void)f;
    ticks++;
    end_of_irq(0);
}

void cpu_init(void)
{
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) pointer = {sizeof idt - 1, (uint32_t)idt};
    static const uint8_t setup[][2] = {
        {0x20, 0x11}, {0xa0, 0x11}, {0x21, 32}, {0xa1, 40}, {0x21, 4}, {0xa1, 2}, {0x21, 1}, {0xa1, 1},
        {0x21, 0xfb}, {0xa1, 0xff},     /* all masked but the cascade */
    };
    for (unsigned i = 0; i < sizeof setup / sizeof *setup; i++)
        outb(setup[i][0], setup[i][1]);
    for (int vector = 32; vector < 48; vector++)
        set_gate(vector, (uint32_t)on_spurious);
    __asm__ volatile("lidt %0" : : "m"(pointer));
    outb(0x43, 0x34);
    outb(0x40, (1193182 / HZ) & 0xff);
    outb(0x40, (1193182 / HZ) >> 8);
    set_irq(0, on_clock);
}

void power_off(void)
{
    outw(0x604, 0x2000);                /* PM1a control of QEMU's pc and q35: sleep enable, type S5 */
    for (;;)
        __asm__ volatile("cli; hlt");
}
