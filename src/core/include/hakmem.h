/* hakmem.h: the public interface of libhakmem.so beyond malloc(3). The only installed header.
 * Every function is thread-safe. A program that is not linked with libhakmem finds them with
 * dlsym(RTLD_DEFAULT, …). */
#ifndef HAKMEM_H
#define HAKMEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0". Static storage. */
const char *hakmem_version(void);

/* Name of the running mode: "minimal", "fast", "balanced", "learning" or "research". Static storage. */
const char *hakmem_mode(void);

/* Prints what is on and off, with its diagram, to stderr. Does not allocate. */
void hakmem_print_config(void);

/* Counters: index 0 … hakmem_counter_count() - 1. Names are stable ("free_tls_sll", …) and static; NULL and 0
 * for an index out of range. Values are sums over threads, read without stopping them: monotonic, momentarily
 * stale. */
unsigned hakmem_counter_count(void);
const char *hakmem_counter_name(unsigned index);
uint64_t hakmem_counter_value(unsigned index);

/* For replayers only: the calling thread says at `place` which site of the policy in force its allocations
 * come from, as the node's number in the policy's file plus one; 0: none. The place is a multiple of 8, on
 * the thread's stack in a frame further out than that of the calls, and stays until the thread ends. */
void hakmem_replay_site(const uint32_t *place);

/* Walks heaps, slabs and the page map and returns 0, or the number of broken invariants (one line each on
 * stderr). Call it while no other thread allocates. */
unsigned hakmem_check(void);

#ifdef __cplusplus
}
#endif

#endif
