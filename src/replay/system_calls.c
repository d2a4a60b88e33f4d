/* system_calls.c: a seccomp filter turns the memory calls into SIGSYS; the handler counts and makes the call
 * itself, from the one place that the filter lets through (seccomp(2), SECCOMP_RET_TRAP). Costs microseconds
 * a call, so never in a measured pass. The handler is async-signal-safe; the counters are shared by all
 * threads. */
#include "replay/system_calls.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

static _Atomic uint64_t *counted;

static const long numbers[] = {
#define X(name) [HAK_SYSTEM_##name] = SYS_##name,
    HAK_SYSTEM_CALLS(X)
#undef X
};

/* As syscall(2), but returns -errno; its system call instruction ends at
 * hak_system_call_end, by which the filter knows it. */
long hak_system_enter(long number, long a, long b, long c, long d, long e, long f)
    __attribute__((visibility("hidden")));
__asm__(".text\n"
        ".hidden hak_system_enter\n"
        ".globl hak_system_enter\n"
        ".type hak_system_enter, @function\n"
        "hak_system_enter:\n\t"
        "mov %rdi, %rax\n\t"
        "mov %rsi, %rdi\n\t"
        "mov %rdx, %rsi\n\t"
        "mov %rcx, %rdx\n\t"
        "mov %r8, %r10\n\t"
        "mov %r9, %r8\n\t"
        "mov 8(%rsp), %r9\n\t"
        "syscall\n"
        "hak_system_call_end:\n\t"
        "ret\n"
        ".size hak_system_enter, . - hak_system_enter");
extern const char hak_system_call_end[] __attribute__((visibility("hidden")));

static void on_call(int number, siginfo_t *info, void *context)
{
    ucontext_t *at = context;
    greg_t *r = at->uc_mcontext.gregs;
    (void)number;
    int saved = errno;
    for (size_t i = 0; i < HAK_COUNT_OF(numbers); i++)
        if (numbers[i] == info->si_syscall)
            atomic_fetch_add_explicit(&counted[i], 1, memory_order_relaxed);
    r[REG_RAX] = hak_system_enter(info->si_syscall, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8],
                                  r[REG_R9]);
    errno = saved;
}

bool hak_system_calls_count(_Atomic uint64_t *counts)
{
    enum { HEAD = 6, CALLS = HAK_SYSTEM_CALL_COUNT, ALLOW = HEAD + CALLS, TRAP = ALLOW + 1 };
    const uint64_t end = (uint64_t)(uintptr_t)hak_system_call_end;
    struct sock_filter code[TRAP + 1] = {
        /* Another machine's numbering, or the handler's own call: let through. */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, ALLOW - 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)end, ALLOW - 4, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, ALLOW - 6, 0), /* x32 */
    };
    for (size_t i = 0; i < CALLS; i++)
        code[HEAD + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)numbers[i],
                                                      (uint8_t)(TRAP - (HEAD + i) - 1), 0);
    code[ALLOW] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[TRAP] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    const struct sock_fprog program = {.len = TRAP + 1, .filter = code};
    struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    counted = counts;
    return sigaction(SIGSYS, &action, NULL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}
