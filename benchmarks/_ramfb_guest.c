/* A Multiboot guest that does one thing: it makes memory at FRAMEBUFFER the screen of QEMU's `ramfb`, then halts. */

#define BIG16(x) __builtin_bswap16(x)
#define BIG32(x) __builtin_bswap32(x)
#define BIG64(x) __builtin_bswap64(x)

enum { SELECTOR = 0x510, DATA = 0x511, DMA_LOW = 0x518, DIRECTORY = 0x19, WRITE = 0x18 };

struct file { unsigned size; unsigned short select, reserved; char name[56]; } __attribute__((packed));
struct ramfb { unsigned long long address; unsigned fourcc, flags, width, height, stride; } __attribute__((packed));
struct dma { unsigned control, length; unsigned long long address; };

asm(".section .multiboot, \"ax\"\n"
    ".balign 4\n"
    ".long 0x1badb002, 2, -(0x1badb002 + 2)\n"
    ".text\n"
    ".globl start\n"
    "start: cli\n"
    "movl $stack_top, %esp\n"
    "call configure\n"
    "1: hlt\n"
    "jmp 1b\n"
    ".bss\n"
    ".skip 4096\n"
    "stack_top:\n");

static void read(void *to, unsigned count)
{
    for (unsigned char *byte = to; count--; byte++)
        asm volatile("inb %w1, %b0" : "=a"(*byte) : "d"(DATA));
}

static int is_ramfb(const char *name)
{
    const char *wanted = "etc/ramfb";
    while (*wanted && *wanted == *name)
        wanted++, name++;
    return *wanted == *name;
}

void configure(void)
{
    static volatile struct ramfb screen;
    static volatile struct dma dma;
    unsigned count;
    struct file file;

    asm volatile("outw %w0, %w1" : : "a"(DIRECTORY), "d"(SELECTOR));
    read(&count, sizeof count);
    for (count = BIG32(count); count--;) {
        read(&file, sizeof file);
        if (is_ramfb(file.name))
            break;
    }
    screen.address = BIG64(FRAMEBUFFER);
    screen.fourcc = BIG32(0x34325258); /* XR24 */
    screen.width = BIG32(WIDTH);
    screen.height = BIG32(HEIGHT);
    screen.stride = BIG32(WIDTH * 4);
    dma.control = BIG32((unsigned)BIG16(file.select) << 16 | WRITE);
    dma.length = BIG32(sizeof screen);
    dma.address = BIG64((unsigned)&screen);
    asm volatile("outl %0, %w1" : : "a"(BIG32((unsigned)&dma)), "d"(DMA_LOW) : "memory");
}
