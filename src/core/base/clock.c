/* clock.c: CLOCK_MONOTONIC from the vDSO, looked up by ourselves: clock_gettime(2) by name may be the
 * program's own, and may allocate while we hold a lock. Source: vdso(7), elf(5). Any thread. */
#include <elf.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/base/os.h"

#define NS_PER_S UINT64_C(1000000000)

typedef long clock_function(clockid_t clock, struct timespec *now);

static long by_system_call(clockid_t clock, struct timespec *now)
{
    return syscall(SYS_clock_gettime, clock, now);
}

/* The function's address in the image, whose section headers the kernel maps with it; NULL: not there. */
static const char *find(const char *image, const char *name)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)image;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(image + header->e_shoff);
    for (unsigned i = 0; header->e_shoff != 0 && i < header->e_shnum; i++) {
        if (sections[i].sh_type != SHT_DYNSYM || sections[i].sh_link >= header->e_shnum)
            continue;
        const Elf64_Sym *symbols = (const Elf64_Sym *)(image + sections[i].sh_offset);
        const char *names = image + sections[sections[i].sh_link].sh_offset;
        for (size_t k = 0; k < sections[i].sh_size / sizeof *symbols; k++)
            if (symbols[k].st_shndx != SHN_UNDEF && strcmp(names + symbols[k].st_name, name) == 0)
                return image + symbols[k].st_value;
    }
    return NULL;
}

static clock_function *look_up(void)
{
    const char *image = (const char *)getauxval(AT_SYSINFO_EHDR);
    const char *at =
        image != NULL && memcmp(image, ELFMAG, SELFMAG) == 0 ? find(image, "__vdso_clock_gettime") : NULL;
    clock_function *function = by_system_call;
    if (at != NULL)
        memcpy(&function, &at, sizeof function);
    return function;
}

uint64_t hak_os_monotonic_ns(void)
{
    static clock_function *_Atomic function; /* every thread that looks finds the same */
    clock_function *clock = atomic_load_explicit(&function, memory_order_relaxed);
    if (clock == NULL) {
        clock = look_up();
        atomic_store_explicit(&function, clock, memory_order_relaxed);
    }
    struct timespec now = {0, 0};
    clock(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}
