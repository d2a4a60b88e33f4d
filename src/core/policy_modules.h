/* policy_modules.h: where the modules a policy speaks of are loaded. Matching is by build-id; a module whose
 * file had none is matched by base name. No malloc. Any thread; hak_places_all takes the loader's lock,
 * hak_place_of and hak_place_still_holds take none (_dl_find_object(3), glibc 2.35). */
#ifndef HAK_CORE_POLICY_MODULES_H
#define HAK_CORE_POLICY_MODULES_H

#include "core/policy_format.h"

#define HAK_MAPPING_FOREIGN UINT32_MAX
#define HAK_MAPPING_MAX     1024 /* modules looked at; a program with more gets no decisions in the others */

/* A loaded module. */
typedef struct hak_mapping {
    uintptr_t start; /* mapped range */
    uintptr_t end;
    uintptr_t bias;
    uint64_t build;  /* hash of the build-id, 0: none */
    uint32_t module; /* of the policy, or HAK_MAPPING_FOREIGN */
    uint32_t reserved;
} hak_mapping;

typedef struct hak_mapping_list {
    uint32_t count;
    hak_mapping places[HAK_MAPPING_MAX];
} hak_mapping_list;

#define HAK_MAPPING_LIST_BYTES                                                                               \
    ((sizeof(hak_mapping_list) + HAK_OS_PAGE_BYTES - 1) / HAK_OS_PAGE_BYTES * HAK_OS_PAGE_BYTES)

/* The policy's modules, as mapped. */
typedef struct hak_modules_view {
    const hak_policy_module *modules;
    uint32_t count;
    const char *strings;
} hak_modules_view;

/* Every loaded module into `list` (empty at first). stale[i] is set where the policy's module i is loaded by
 * name, but in another build. */
void hak_places_all(const hak_modules_view *view, hak_mapping_list *list, bool *stale);

/* The module that holds pc. False where no module does (JIT) or the C library cannot tell. */
bool hak_place_of(const hak_modules_view *view, uintptr_t pc, hak_mapping *place);

/* Whether the same build is still mapped there. */
bool hak_place_still_holds(const hak_mapping *place);

#endif
