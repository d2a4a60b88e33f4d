/* record_unwinder.c: see record_unwinder.h. Holds no lock of its own. Any thread once loaded. */
#include "trace/record_unwinder.h"

#include <dlfcn.h>
#include <string.h>

#define UNW_LOCAL_ONLY
#include <libunwind.h>

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

void hak_unwinder_load(void)
{
    void *handle = dlopen(UNWINDER_FILE, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
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

bool hak_unwinder_step(hak_frame *frame)
{
    unw_context_t context;
    unw_cursor_t cursor;
    if (!hak_unwinder_ready())
        return false;
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

unsigned hak_unwinder_walk(uintptr_t from_pc, uintptr_t *pcs, unsigned max)
{
    unw_context_t context;
    unw_cursor_t cursor;
    unsigned count = 0;
    if (!hak_unwinder_ready() || unwinder.getcontext(&context) != 0 || unwinder.init(&cursor, &context) != 0)
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
