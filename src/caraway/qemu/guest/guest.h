/* What the demo guest's parts know of each other. */
#pragma once
#include <stdint.h>

typedef struct {
    int x, y, w, h;
} Rect;

static inline void outb(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outw(uint16_t port, uint16_t value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outl(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline uint8_t inb(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline uint16_t inw(uint16_t port) { uint16_t v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline uint32_t inl(uint16_t port) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }

/* cpu.c: interrupts, the 100 Hz clock, power */
enum { HZ = 100 };
struct frame;
typedef void Handler(struct frame *);
extern volatile uint32_t ticks;
void cpu_init(void);
void set_irq(int irq, Handler *handler);
void end_of_irq(int irq);
void power_off(void);

/* serial.c: COM1, one line a message */
void serial_init(void);
void say(const char *format, ...);
int serial_line(char *line, int size);  /* takes one command; 0 when there is none */
int serial_pending(void);
void serial_drain(void);

/* screen.c: the framebuffer, a picture of the scene in RAM, and the pointer over it */
extern int screen_w, screen_h;
enum { GLYPH_W = 6, GLYPH_H = 10 };     /* cell of the font, in dots */
int screen_init(uint32_t memory_end);
int screen_mode(int w, int h);
void screen_show(Rect area);            /* repaints an area of the scene */
void screen_pointer(int x, int y);
uint32_t screen_crc(void);
void put(int x, int y, uint32_t rgb);   /* these draw the scene, within the area being repainted */
void shade(int x, int y, uint32_t rgb, int alpha);
int is_visible(Rect r);
void fill(Rect r, uint32_t rgb);
void panel(Rect r, uint32_t rgb, int alpha);
void text(int x, int y, int scale, uint32_t rgb, const char *s);
void dots(int x, int y, int size, uint32_t lit, uint32_t unlit, const char *s);

/* desktop.c: what is on the screen */
void desktop_scene(void);
void desktop_reset(void);               /* after a change of mode: everything again */
void desktop_counter(void);
void desktop_key(int character);
void desktop_leds(void);
void desktop_click(int x, int y, int button);
void desktop_status(void);
extern uint32_t counter;

/* input.c: keyboard, mouse */
enum { LED_SCROLL = 1, LED_NUM = 2, LED_CAPS = 4 };
extern int leds, is_absolute, reports_pointer;
void input_init(void);
void input_mode(int absolute);
void input_stay_inside(void);           /* after a change of mode */
int input_pending(void);
void input_handle(void);
