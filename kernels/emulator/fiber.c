/* Fibers: many stacks, one thread of the operating system. A switch saves the registers that the
 * calling convention says a function must keep, exchanges stack pointers and restores them.
 *
 * On other processors than x86-64 the C library's ucontext does the same, some 50 times slower.
 *
 * next: kernels/emulator/launch.c */
#include <stdint.h>

#include "kernels/emulator/internal.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
/* A fiber that was given up never left its frames; the sanitizer still guards them. */
#define FORGET_FRAMES(stack, bytes) __asan_unpoison_memory_region(stack, bytes)
#else
#define FORGET_FRAMES(stack, bytes) ((void)0)
#endif

#if defined(__x86_64__)

/* System V: rbx, rbp, r12-r15 belong to the caller; the return address is on the stack. */
__asm__(".text\n"
        ".globl emu_switch\n"
        ".type emu_switch, @function\n"
        "emu_switch:\n"
        "  push %rbp\n  push %rbx\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
        "  mov %rsp, (%rdi)\n"
        "  mov %rsi, %rsp\n"
        "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbx\n  pop %rbp\n"
        "  ret\n"
        ".size emu_switch, . - emu_switch\n");

void *emu_stack_for(char *stack, size_t bytes, void (*entry)(void))
{
    FORGET_FRAMES(stack, bytes);
    uintptr_t top = ((uintptr_t)stack + bytes) & ~(uintptr_t)15;
    void **p = (void **)top;
    *--p = NULL;                     /* entry's return address; keeps its stack aligned */
    *--p = (void *)(uintptr_t)entry; /* where the first switch returns to */
    for (int i = 0; i < 6; i++) *--p = NULL;
    return p;
}

#else

#include <ucontext.h>

void emu_switch(void **save, void *to)
{
    ucontext_t here;
    *save = &here;
    swapcontext(&here, to);
}

void *emu_stack_for(char *stack, size_t bytes, void (*entry)(void))
{
    FORGET_FRAMES(stack, bytes);
    ucontext_t *c = (ucontext_t *)(void *)stack; /* kept at the stack's far end */
    getcontext(c);
    c->uc_stack.ss_sp = stack + sizeof *c;
    c->uc_stack.ss_size = bytes - sizeof *c;
    c->uc_link = NULL;
    makecontext(c, entry, 0);
    return c;
}

#endif
