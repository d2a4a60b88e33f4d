/* record_unwinder.c: see record_unwinder.h. Holds no lock of its own. Any thread once loaded.
 *
 * libunwind tests addresses by writing a byte from them to a pipe, and opens that pipe anew when its
 * descriptors have been closed: two descriptors that stay in the program, and a byte read from and written to
 * whatever file of the program has their numbers later. Its calls of pipe2(2), read(2) and write(2) are
 * therefore bound to ours: inside a hook there is no pipe, and writing a byte tells whether it can be read.
 * So is mincore(2). */
#include "trace/record_unwinder.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define UNW_LOCAL_ONLY
#include <libunwind.h>

#include "core/base/bits.h"
#include "trace/record_fork.h"
#include "trace/record_process.h"

#define TEXT_OF(x)    #x
#define NAME_OF(x)    TEXT_OF(x)
#define HOOK_FRAMES   16 /* our own frames between the walk and the program, at most */
#define UNWINDER_FILE "libunwind.so.8"

static struct {
    int (*getcontext)(unw_context_t *);
    int (*init)(unw_cursor_t *, unw_context_t *);
    int (*step)(unw_cursor_t *);
    int (*get)(unw_cursor_t *, int, unw_word_t *);
} unwinder;
static _Atomic bool ready;

bool hak_word_readable(uintptr_t at)
{
    long failed;
    __asm__ volatile("mov $8, %%r10d\n\tsyscall" /* raw: errno and cancellation stay out of it */
                     : "=a"(failed)
                     : "0"(SYS_rt_sigprocmask), "D"(-1L), "S"(at), "d"(0L)
                     : "rcx", "r10", "r11", "memory");
    return failed != -EFAULT;
}

/* The program may use libunwind itself: its own calls get their pipe. */
static int bound_pipe2(int *fds, int flags)
{
    if (hak_self.inside_sp == 0)
        return (int)syscall(SYS_pipe2, fds, flags);
    errno = EMFILE;
    return -1;
}

static ssize_t bound_read(int fd, void *bytes, size_t size)
{
    if (hak_self.inside_sp == 0)
        return syscall(SYS_read, fd, bytes, size);
    errno = EAGAIN; /* empty, and still open */
    return -1;
}

/* write(2), which libunwind calls by its number; what else it might call passes. */
static long bound_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (hak_self.inside_sp == 0 || number != SYS_write)
        return syscall(number, a, b, c, d, e, f);
    if (hak_word_readable(hak_align_down((uintptr_t)b, 8)))
        return c;
    errno = EFAULT;
    return -1;
}

/* mincore(2), by which it asks first whether a page is there: a program that filters its system calls may be
 * ended for it. rt_sigprocmask(2) is one that everybody allows. */
static int bound_mincore(void *at, size_t bytes, unsigned char *there)
{
    if (hak_self.inside_sp == 0)
        return (int)syscall(SYS_mincore, at, bytes, there);
    if (!hak_word_readable(hak_align_down((uintptr_t)at, 8))) {
        errno = ENOMEM;
        return -1;
    }
    memset(there, 1, (bytes + HAK_OS_PAGE_BYTES - 1) / HAK_OS_PAGE_BYTES);
    return 0;
}

static uintptr_t dynamic_value(const struct link_map *map, ElfW(Sxword) tag)
{
    for (const ElfW(Dyn) *at = map->l_ld; at->d_tag != DT_NULL; at++)
        if (at->d_tag == tag)
            return (uintptr_t)at->d_un.d_val; /* the loader has made addresses absolute */
    return 0;
}

/* Whole pages of it, writable for as long as that takes; they stay writable, as lazy binding leaves them. */
static bool store_pointer(uintptr_t at, uintptr_t value)
{
    uintptr_t page = hak_align_down(at, HAK_OS_PAGE_BYTES);
    if (mprotect((void *)page, at + sizeof value - page, PROT_READ | PROT_WRITE) != 0)
        return false;
    memcpy((void *)at, &value, sizeof value);
    return true;
}

static bool bind(const struct link_map *map, const char *name, uintptr_t function)
{
    const char *names = (const char *)dynamic_value(map, DT_STRTAB);
    const ElfW(Sym) *symbols = (const ElfW(Sym) *)dynamic_value(map, DT_SYMTAB);
    const struct {
        ElfW(Sxword) table, bytes;
    } kinds[] = {{DT_JMPREL, DT_PLTRELSZ}, {DT_RELA, DT_RELASZ}};
    for (size_t k = 0; k < HAK_COUNT_OF(kinds) && names != NULL && symbols != NULL; k++) {
        const ElfW(Rela) *rela = (const ElfW(Rela) *)dynamic_value(map, kinds[k].table);
        size_t count = rela == NULL ? 0 : dynamic_value(map, kinds[k].bytes) / sizeof *rela;
        for (size_t i = 0; i < count; i++) {
            size_t type = ELF64_R_TYPE(rela[i].r_info);
            const ElfW(Sym) *symbol = &symbols[ELF64_R_SYM(rela[i].r_info)];
            if ((type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT) &&
                strcmp(names + symbol->st_name, name) == 0)
                return store_pointer(map->l_addr + rela[i].r_offset, function);
        }
    }
    return false;
}

static bool bind_calls(void *handle)
{
    struct link_map *map = NULL;
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || map == NULL)
        return false;
    /* A build that does not import it does not call it. */
    (void)bind(map, "mincore", (uintptr_t)bound_mincore);
    return bind(map, "pipe2", (uintptr_t)bound_pipe2) && bind(map, "read", (uintptr_t)bound_read) &&
           bind(map, "syscall", (uintptr_t)bound_syscall);
}

void hak_unwinder_load(void)
{
    void *handle = dlopen(UNWINDER_FILE, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL || !bind_calls(handle))
        return;
    unw_addr_space_t *space = dlsym(handle, NAME_OF(UNW_OBJ(local_addr_space)));
    int (*set_caching)(unw_addr_space_t, unw_caching_policy_t);
    void *symbols[] = {
        dlsym(handle, NAME_OF(UNW_ARCH_OBJ(getcontext))),
        dlsym(handle, NAME_OF(UNW_OBJ(init_local))),
        dlsym(handle, NAME_OF(UNW_OBJ(step))),
        dlsym(handle, NAME_OF(UNW_OBJ(get_reg))),
        dlsym(handle, NAME_OF(UNW_OBJ(set_caching_policy))),
    };
    for (size_t i = 0; i < HAK_COUNT_OF(symbols); i++)
        if (symbols[i] == NULL || space == NULL)
            return; /* stays loaded: unloading would run more of the loader for nothing */
    memcpy(&unwinder.getcontext, &symbols[0], sizeof symbols[0]);
    memcpy(&unwinder.init, &symbols[1], sizeof symbols[1]);
    memcpy(&unwinder.step, &symbols[2], sizeof symbols[2]);
    memcpy(&unwinder.get, &symbols[3], sizeof symbols[3]);
    memcpy(&set_caching, &symbols[4], sizeof symbols[4]);

    uintptr_t pcs[4]; /* primes it: what it sets up on first use is set up now, under nobody's locks */
    set_caching(*space, UNW_CACHE_NONE);
    atomic_store_explicit(&ready, true, memory_order_release);
    hak_unwinder_walk((uintptr_t)__builtin_return_address(0), pcs, HAK_COUNT_OF(pcs));
}

bool hak_unwinder_ready(void)
{
    return atomic_load_explicit(&ready, memory_order_acquire);
}

static uintptr_t register_at(unw_cursor_t *cursor, int which)
{
    unw_word_t value = 0;
    return unwinder.get(cursor, which, &value) == 0 ? (uintptr_t)value : 0;
}

static bool step(hak_frame *frame)
{
    unw_context_t context;
    unw_cursor_t cursor;
    memset(&context, 0, sizeof context);
    context.uc_mcontext.gregs[REG_RIP] = (greg_t)frame->pc;
    context.uc_mcontext.gregs[REG_RSP] = (greg_t)frame->sp;
    context.uc_mcontext.gregs[REG_RBP] = (greg_t)frame->bp;
    if (unwinder.init(&cursor, &context) != 0 || unwinder.step(&cursor) <= 0)
        return false;
    hak_frame up = {register_at(&cursor, UNW_REG_IP), register_at(&cursor, UNW_REG_SP),
                    register_at(&cursor, UNW_X86_64_RBP)};
    if (up.pc == 0 || up.sp <= frame->sp)
        return false;
    *frame = up;
    return true;
}

bool hak_unwinder_step(hak_frame *frame)
{
    if (!hak_unwinder_ready() || !hak_fork_hold())
        return false;
    bool found = step(frame);
    hak_fork_release();
    return found;
}

/* Inlined, so that HOOK_FRAMES counts frames of the hooks alone. */
HAK_INLINE unsigned walk(uintptr_t from_pc, uintptr_t *pcs, unsigned max)
{
    unw_context_t context;
    unw_cursor_t cursor;
    unsigned count = 0;
    if (unwinder.getcontext(&context) != 0 || unwinder.init(&cursor, &context) != 0)
        return 0;
    for (unsigned skipped = 0; count < max && unwinder.step(&cursor) > 0;) {
        uintptr_t pc = register_at(&cursor, UNW_REG_IP);
        if (count == 0 && pc != from_pc) {
            if (++skipped == HOOK_FRAMES)
                break;
            continue;
        }
        if (pc == 0)
            break;
        pcs[count++] = pc;
    }
    return count;
}

unsigned hak_unwinder_walk(uintptr_t from_pc, uintptr_t *pcs, unsigned max)
{
    if (!hak_unwinder_ready() || !hak_fork_hold())
        return 0;
    unsigned count = walk(from_pc, pcs, max);
    hak_fork_release();
    return count;
}
