/* fibers.c: see fibers.h. x86-64 with FSGSBASE, System V calling convention. */
#include "replay/fibers.h"

#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

#include "replay/sync.h"

#define HWCAP2_FSGSBASE_BIT 2u    /* asm/hwcap2.h */
#define SPINS               2000u /* of an idle carrier, before it sleeps */

/* What a fiber does when it leaves its carrier. */
enum { VERB_YIELD, VERB_CELL, VERB_EPOCH, VERB_END };

/* Saves what a call keeps (callee-saved registers, and the stack pointer in *save), takes on the other stack
 * and TLS, and returns there. A new fiber's stack returns into fiber_begin. */
void hak_fiber_swap(void **save, void *sp, uintptr_t fs);
void hak_fiber_begin(void);
__asm__(".text\n"
        ".p2align 4\n"
        ".globl hak_fiber_swap\n"
        ".hidden hak_fiber_swap\n"
        ".type hak_fiber_swap, @function\n"
        "hak_fiber_swap:\n"
        "    push %rbp\n"
        "    push %rbx\n"
        "    push %r12\n"
        "    push %r13\n"
        "    push %r14\n"
        "    push %r15\n"
        "    mov %rsp, (%rdi)\n"
        "    wrfsbase %rdx\n"
        "    mov %rsi, %rsp\n"
        "    pop %r15\n"
        "    pop %r14\n"
        "    pop %r13\n"
        "    pop %r12\n"
        "    pop %rbx\n"
        "    pop %rbp\n"
        "    ret\n"
        ".size hak_fiber_swap, . - hak_fiber_swap\n"
        ".globl hak_fiber_begin\n"
        ".hidden hak_fiber_begin\n"
        ".type hak_fiber_begin, @function\n"
        "hak_fiber_begin:\n" /* r12: fiber, r13: main, r14: argument */
        "    mov %r14, %rdi\n"
        "    call *%r13\n"
        "    mov %r12, %rdi\n"
        "    call hak_fiber_end\n"
        "    ud2\n"
        ".size hak_fiber_begin, . - hak_fiber_begin\n");

static uintptr_t fs_base(void)
{
    uintptr_t fs;
    __asm__ volatile("rdfsbase %0" : "=r"(fs));
    return fs;
}

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
/* Adds up the TLS of the loaded libraries: it lies above a thread's frames. */
static int tls_add(struct dl_phdr_info *info, size_t info_bytes, void *sum_bytes)
{
    (void)info_bytes;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS)
            *(size_t *)sum_bytes += info->dlpi_phdr[i].p_memsz + info->dlpi_phdr[i].p_align;
    return 0;
}

bool hak_fibers_possible(void)
{
    size_t tls_bytes = 0;
    dl_iterate_phdr(tls_add, &tls_bytes);
    return (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT) != 0 && fs_base() == (uintptr_t)pthread_self() &&
           tls_bytes <= HAK_FIBER_TLS_MAX_BYTES;
}
#else
bool hak_fibers_possible(void)
{
    return false;
}
#endif

static void lock(hak_fibers *all)
{
    while (atomic_exchange_explicit(&all->lock, 1, memory_order_acquire) != 0)
        while (atomic_load_explicit(&all->lock, memory_order_relaxed) != 0)
            __builtin_ia32_pause();
}

static void unlock(hak_fibers *all)
{
    atomic_store_explicit(&all->lock, 0, memory_order_release); /* pairs with lock's exchange */
}

/* Under the lock. */
static void append(hak_fibers *all, hak_fiber *fiber)
{
    fiber->next = NULL;
    if (all->first == NULL)
        all->first = fiber;
    else
        all->last->next = fiber;
    all->last = fiber;
}

/* After something was appended, or nothing is left. A carrier counts itself idle (seq_cst) before it looks at
 * the queue again: one of the two sees the other. */
static void carriers_wake(hak_fibers *all)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&all->idle) == 0)
        return;
    atomic_fetch_add(&all->wakes, 1);
    hak_futex_wake(&all->wakes);
}

void hak_fiber_wake(hak_fiber *fiber)
{
    lock(fiber->all);
    append(fiber->all, fiber);
    unlock(fiber->all);
    carriers_wake(fiber->all);
}

void hak_fibers_advance(hak_fibers *all, uint32_t from, uint32_t done)
{
    bool any = false;
    lock(all);
    if (done - from >= HAK_FIBERS_LISTS)
        from = done - HAK_FIBERS_LISTS;
    for (uint32_t epoch = from + 1; epoch <= done; epoch++) {
        hak_fiber **at = &all->waiting[epoch % HAK_FIBERS_LISTS];
        for (hak_fiber *fiber; (fiber = *at) != NULL;) {
            if (fiber->until > done) {
                at = &fiber->next;
                continue;
            }
            *at = fiber->next;
            append(all, fiber);
            any = true;
        }
    }
    unlock(all);
    if (any)
        carriers_wake(all);
}

/* What the fiber that has just left its carrier asked for; its registers are saved now. */
static void settle(hak_carrier *carrier, hak_fiber *fiber)
{
    hak_fibers *all = carrier->all;
    uintptr_t empty = HAK_CELL_EMPTY;
    switch (carrier->verb) {
    case VERB_CELL:
        if (!atomic_compare_exchange_strong_explicit((_Atomic uintptr_t *)carrier->object, &empty,
                                                     (uintptr_t)fiber | HAK_CELL_WAITED, memory_order_acq_rel,
                                                     memory_order_acquire))
            hak_fiber_wake(fiber);
        break;
    case VERB_EPOCH: {
        const hak_epochs *epochs = carrier->object;
        hak_fiber **list = &all->waiting[fiber->until % HAK_FIBERS_LISTS];
        lock(all);
        if (atomic_load(&epochs->done) >= fiber->until) {
            append(all, fiber);
        } else {
            fiber->next = *list;
            *list = fiber;
        }
        unlock(all);
        break;
    }
    case VERB_END:
        atomic_store(&fiber->ended, 1);
        hak_futex_wake(&fiber->ended);
        if (atomic_fetch_sub(&all->left, 1) == 1)
            carriers_wake(all);
        break;
    default:
        hak_fiber_wake(fiber);
    }
}

static bool over(hak_fibers *all)
{
    return atomic_load(&all->left) == 0 || atomic_load(&all->stopped) != 0;
}

void hak_fibers_stop(hak_fibers *all)
{
    atomic_store(&all->stopped, 1);
    carriers_wake(all);
}

static hak_fiber *take(hak_fibers *all)
{
    lock(all);
    hak_fiber *fiber = all->first;
    if (fiber != NULL)
        all->first = fiber->next;
    unlock(all);
    return fiber;
}

/* A ready fiber, or NULL when none is left. */
static hak_fiber *next_fiber(hak_fibers *all)
{
    for (uint32_t spins = 0;; spins++) {
        uint32_t wakes = atomic_load(&all->wakes);
        if (over(all))
            return NULL;
        hak_fiber *fiber = take(all);
        if (fiber != NULL)
            return fiber;
        if (spins < SPINS) {
            __builtin_ia32_pause();
            continue;
        }
        atomic_fetch_add(&all->idle, 1);
        atomic_thread_fence(memory_order_seq_cst);
        fiber = take(all);
        if (fiber == NULL && !over(all))
            hak_futex_wait(&all->wakes, wakes);
        atomic_fetch_sub(&all->idle, 1);
        if (fiber != NULL)
            return fiber;
    }
}

static void carry(hak_carrier *carrier)
{
    carrier->fs = fs_base();
    for (hak_fiber *fiber; (fiber = next_fiber(carrier->all)) != NULL;) {
        fiber->carrier = carrier;
        hak_fiber_swap(&carrier->sp, fiber->sp, fiber->fs);
        settle(carrier, fiber);
    }
}

static void *carrier_main(void *argument)
{
    hak_carrier *carrier = argument;
    hak_fibers *all = carrier->all;
    for (uint32_t seen = 0;;) {
        uint32_t turn = atomic_load(&all->turn);
        if (turn == seen) {
            hak_futex_wait(&all->turn, seen);
            continue;
        }
        seen = turn;
        carry(carrier);
        if (atomic_fetch_sub(&all->active, 1) == 1)
            hak_futex_wake(&all->active);
    }
    return NULL;
}

int hak_fibers_start(hak_fibers *all, uint32_t count, char *stacks, size_t stack_bytes)
{
    int status = 0;
    all->carrier_count = count < HAK_FIBERS_CARRIERS_MAX ? count : HAK_FIBERS_CARRIERS_MAX;
    for (uint32_t i = 0; i < all->carrier_count; i++)
        all->carriers[i].all = all;
    for (uint32_t i = 1; i < all->carrier_count && status == 0; i++) {
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        status = pthread_attr_setstack(&attr, stacks + i * stack_bytes, stack_bytes);
        if (status == 0)
            status = pthread_create(&all->carriers[i].handle, &attr, carrier_main, &all->carriers[i]);
        pthread_attr_destroy(&attr);
    }
    return status;
}

void hak_fibers_run(hak_fibers *all, uint32_t count)
{
    atomic_store(&all->left, count);
    atomic_store(&all->active, all->carrier_count - 1);
    atomic_fetch_add(&all->turn, 1);
    hak_futex_wake(&all->turn);
    carry(&all->carriers[0]);
    for (uint32_t active; (active = atomic_load(&all->active)) != 0;)
        hak_futex_wait(&all->active, active);
}

static HAK_NOINLINE void leave(hak_fiber *self, int verb, void *object)
{
    hak_carrier *carrier = self->carrier;
    carrier->verb = verb;
    carrier->object = object;
    hak_fiber_swap(&self->sp, carrier->sp, carrier->fs);
}

void hak_fiber_end(hak_fiber *self); /* hak_fiber_begin calls it */
void hak_fiber_end(hak_fiber *self)
{
    leave(self, VERB_END, NULL);
}

void hak_fiber_reset(hak_fiber *fiber)
{
    atomic_store(&fiber->ended, 0);
}

void hak_fiber_make(hak_fiber *fiber, hak_fibers *all, pthread_t thread, void *stack, void (*main)(void *),
                    void *argument)
{
    uint64_t *top = (uint64_t *)hak_align_down((uintptr_t)stack, 16);
    /* What hak_fiber_swap pops: r15, r14, r13, r12, rbx, rbp, then where it returns to; that leaves SP a
     * multiple of 16, as a call wants it. */
    *--top = 0;
    *--top = 0;
    *--top = (uint64_t)(uintptr_t)hak_fiber_begin;
    *--top = 0;
    *--top = 0;
    *--top = (uint64_t)(uintptr_t)fiber;
    *--top = (uint64_t)(uintptr_t)main;
    *--top = (uint64_t)(uintptr_t)argument;
    *--top = 0;
    fiber->sp = top;
    fiber->fs = (uintptr_t)thread;
    fiber->all = all;
    hak_fiber_wake(fiber);
}

void hak_fiber_join(hak_fiber *fiber)
{
    while (atomic_load(&fiber->ended) == 0)
        hak_futex_wait(&fiber->ended, 0);
}

void hak_fiber_yield(hak_fiber *self)
{
    leave(self, VERB_YIELD, NULL);
}

void hak_fiber_wait_cell(hak_fiber *self, _Atomic uintptr_t *cell)
{
    leave(self, VERB_CELL, cell);
}

void hak_fiber_wait_epoch(hak_fiber *self, hak_epochs *epochs, uint32_t until)
{
    self->until = until;
    leave(self, VERB_EPOCH, epochs);
}
