/* core_first_fit.c: the tree that finds the first SuperSlab with room, against a look at each of them. Its
 * own process without the allocator: the SuperSlabs are headers only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "core/first_fit.h"

enum { SUPERS = 3000, STEPS = 20000 }; /* more than the first table holds */

static hak_superslab supers[SUPERS];
static bool there[SUPERS];
static uint64_t state_word = 88172645463325252u;

static uint32_t draw(uint32_t below)
{
    state_word ^= state_word << 13; /* xorshift64 (Marsaglia 2003) */
    state_word ^= state_word >> 7;
    state_word ^= state_word << 17;
    return (uint32_t)(state_word >> 33) % below;
}

static const hak_superslab *look(unsigned fit)
{
    const hak_superslab *first = NULL;
    for (unsigned i = 0; i < SUPERS; i++)
        if (there[i] && supers[i].fit >= fit && (first == NULL || supers[i].slot < first->slot))
            first = &supers[i];
    return first;
}

static void come_or_go(unsigned i)
{
    there[i] = !there[i];
    if (there[i])
        assert_true(hak_first_fit_add(&supers[i]));
    else
        hak_first_fit_remove(&supers[i]);
}

static void finds_the_first(void **state)
{
    (void)state;
    assert_null(hak_first_fit_find(HAK_FIT_UNIT_0, false));
    for (unsigned i = 0; i < SUPERS; i++)
        come_or_go(i);
    assert_null(hak_first_fit_find(HAK_FIT_UNIT_0, false));
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = draw(SUPERS);
        if (!there[i] || draw(8) == 0)
            come_or_go(i);
        if (there[i]) /* mostly full, so that the first one is not always slot 0 */
            hak_first_fit_set(&supers[i], draw(40) == 0 ? draw(HAK_FIT_RUN(HAK_RUN_MAX_UNITS) + 1) : 0);
        unsigned fit = 1 + draw(HAK_FIT_RUN(HAK_RUN_MAX_UNITS));
        assert_ptr_equal(hak_first_fit_find(fit, false), look(fit));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_the_first)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
