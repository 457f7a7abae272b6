/* Entry: the Multiboot 1 header, a flat GDT (the loader's own is not ours to keep), a stack. */
    .set FLAGS, 2                       /* memory size wanted; an ELF needs no address fields */
    .section .multiboot, "ax"
    .balign 4
    .long 0x1badb002, FLAGS, -(0x1badb002 + FLAGS)

    .text
    .globl start
start:
    cli
    cld
    movl $stack_top, %esp
    lgdt gdt_pointer
    ljmp $8, $1f
1:  movl $16, %ecx
    movl %ecx, %ds
    movl %ecx, %es
    movl %ecx, %fs
    movl %ecx, %gs
    movl %ecx, %ss
    pushl %ebx                          /* Multiboot information */
    call kernel_main
2:  cli
    hlt
    jmp 2b

    .section .rodata
    .balign 8
gdt:
    .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long gdt

    .bss
    .balign 16
    .skip 16384
stack_top:
    .section .note.GNU-stack, "", @progbits
