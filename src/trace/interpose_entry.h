/* interpose_entry.h: the first instructions of the hooks that programs call most.
 *
 * Where sampling, nearly all calls go by here: five instructions for an allocation, six for a release,
 * without a frame or a saved register, which no compiler makes of C. They change rax, rcx, rsi or rdx where
 * those hold no argument, the thread's countdown, and nothing else. A call that is not to go by is jumped on
 * to the function that records it, which so finds the program's return address just above its own frame.
 *
 * Where every call is recorded, hak_pass leads to those functions, too, and every place says "ask": nothing
 * here is tested for that. The countdown then runs for nobody. */
#ifndef HAK_TRACE_INTERPOSE_ENTRY_H
#define HAK_TRACE_INTERPOSE_ENTRY_H

#include "trace/record_sample.h"

/* A function that is one HAK_ENTRY_… below. Its parameters are there for its callers. */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define HAK_ENTRY __attribute__((naked)) HAK_EXPORT

/* Counts `size` (a register; 1 for 0) and goes to `record` when the countdown ends with it. */
#define HAK_COUNT_OR(size, record)                                                                           \
    "movq hak_sample_left@gottpoff(%%rip), %%rax\n\t"                                                        \
    "cmpq $1, %%" size "\n\t"                                                                                \
    "sbbq %%" size ", %%fs:(%%rax)\n\t"                                                                      \
    "jbe " record "\n\t"

/* Goes to `record` unless nothing that was sampled lies near rdi: hak_sample_place. Operands: shift, none. */
#define HAK_LOOK_OR(record)                                                                                  \
    "movl %%edi, %%eax\n\t"                                                                                  \
    "shrl %0, %%eax\n\t"                                                                                     \
    "leaq hak_sample_places(%%rip), %%rcx\n\t"                                                               \
    "cmpb %1, (%%rcx,%%rax)\n\t"                                                                             \
    "jne " record "\n\t"

#define HAK_ENTRY_MALLOC()                                                                                   \
    __asm__(HAK_COUNT_OR("rdi", "hak_record_malloc") "jmp *hak_pass+%c0(%%rip)"                              \
            :                                                                                                \
            : "i"(offsetof(hak_pass_table, malloc)))

#define HAK_ENTRY_CALLOC()                                                                                   \
    __asm__("movq %%rdi, %%rax\n\t"                                                                          \
            "mulq %%rsi\n\t"                                                                                 \
            "movq %%rax, %%rcx\n\t"                                                                          \
            "jo hak_record_calloc\n\t" HAK_COUNT_OR("rcx", "hak_record_calloc") "jmp *hak_pass+%c0(%%rip)"   \
            :                                                                                                \
            : "i"(offsetof(hak_pass_table, calloc)))

/* Counts in any case, so that what comes after it knows. */
#define HAK_ENTRY_REALLOC()                                                                                  \
    __asm__(HAK_COUNT_OR("rsi", "hak_record_realloc")                                                        \
                HAK_LOOK_OR("hak_record_realloc") "jmp *hak_pass+%c2(%%rip)"                                 \
            :                                                                                                \
            : "i"(HAK_SAMPLE_PLACE_SHIFT), "i"(HAK_SAMPLE_NONE), "i"(offsetof(hak_pass_table, realloc)))

/* Whatever else the function is given is for its callers, too. */
#define HAK_ENTRY_FREE(op)                                                                                   \
    __asm__(HAK_LOOK_OR("1f") "jmp *hak_next+%c2(%%rip)\n"                                                   \
                              "1:\tmovl %3, %%esi\n\t"                                                       \
                              "jmp hak_record_free"                                                          \
            :                                                                                                \
            : "i"(HAK_SAMPLE_PLACE_SHIFT), "i"(HAK_SAMPLE_NONE), "i"(offsetof(hak_next_table, free)),        \
              "i"(op))

#define HAK_ENTRY_NEW(op)                                                                                    \
    __asm__("movl %1, %%esi\n\t" HAK_COUNT_OR("rdi", "hak_record_new") "jmp *hak_pass+%c0(%%rip)"            \
            :                                                                                                \
            : "i"(offsetof(hak_pass_table, new)), "i"(op))

#endif
