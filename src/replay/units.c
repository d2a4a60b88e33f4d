/* units.c: see units.h. Never prints. One thread. */
#include "replay/units.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "trace/grow.h"

/* Addresses [low, high) that belong to something numbered. */
typedef struct range {
    Dwarf_Addr low;
    Dwarf_Addr high;
    Dwarf_Addr reach; /* greatest `high` up to here, in the sorted list */
    Dwarf_Off number; /* of a unit, or the offset of a subprogram's entry */
} range;

typedef struct ranges {
    range *list;
    size_t count;
    size_t room;
} ranges;

typedef struct unit {
    Dwarf_Die die;
    ranges subprograms;
    bool indexed;
} unit;

struct hak_units {
    Dwarf *dwarf;
    unit *units;
    size_t units_count;
    size_t units_room;
    ranges ranges;
};

enum { DEPTH_MAX = 64, SCOPES_MAX = 64 };

/* ---- ranges ---- */

static bool add_die(ranges *to, Dwarf_Die *die, Dwarf_Off number)
{
    Dwarf_Addr base, low, high;
    ptrdiff_t at = 0;
    while ((at = dwarf_ranges(die, at, &base, &low, &high)) > 0) {
        if (low >= high)
            continue;
        if (!HAK_GROW(&to->list, &to->room, to->count + 1))
            return false;
        to->list[to->count++] = (range){low, high, 0, number};
    }
    return true;
}

static int by_low(const void *a, const void *b)
{
    const range *x = a;
    const range *y = b;
    if (x->low != y->low)
        return x->low < y->low ? -1 : 1;
    return (x->high < y->high) - (x->high > y->high);
}

static void sort_ranges(ranges *r)
{
    if (r->count != 0)
        qsort(r->list, r->count, sizeof *r->list, by_low);
    Dwarf_Addr reach = 0;
    for (size_t i = 0; i < r->count; i++) {
        reach = r->list[i].high > reach ? r->list[i].high : reach;
        r->list[i].reach = reach;
    }
}

/* The narrowest-starting range around the address; NULL: none. */
static const range *range_at(const ranges *r, Dwarf_Addr address)
{
    size_t low = 0;
    size_t high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->list[middle].low <= address)
            low = middle + 1;
        else
            high = middle;
    }
    while (low-- != 0 && r->list[low].reach > address) {
        if (r->list[low].high > address)
            return &r->list[low];
    }
    return NULL;
}

/* ---- units ---- */

static bool list_units(hak_units *units)
{
    Dwarf_CU *cu = NULL;
    Dwarf_Die die, split;
    uint8_t type;
    while (dwarf_get_units(units->dwarf, cu, &cu, NULL, &type, &die, &split) == 0) {
        bool skeleton = type == DW_UT_skeleton && dwarf_tag(&split) == DW_TAG_compile_unit;
        if (type != DW_UT_compile && !skeleton)
            continue;
        if (!HAK_GROW(&units->units, &units->units_room, units->units_count + 1) ||
            !add_die(&units->ranges, &die, units->units_count))
            return false;
        units->units[units->units_count++] = (unit){.die = skeleton ? split : die};
    }
    sort_ranges(&units->ranges);
    return true;
}

hak_units *hak_units_new(Dwarf *dwarf)
{
    hak_units *units = calloc(1, sizeof *units);
    if (units == NULL)
        return NULL;
    units->dwarf = dwarf;
    if (list_units(units))
        return units;
    hak_units_free(units);
    return NULL;
}

void hak_units_free(hak_units *units)
{
    if (units == NULL)
        return;
    for (size_t i = 0; i < units->units_count; i++)
        free(units->units[i].subprograms.list);
    free(units->units);
    free(units->ranges.list);
    free(units);
}

/* Subprograms below a unit, a name space, or (Rust, D) a subprogram. Types are stepped over. */
static bool index_below(ranges *to, Dwarf_Die *parent, unsigned depth)
{
    Dwarf_Die die;
    if (depth == DEPTH_MAX || dwarf_child(parent, &die) != 0)
        return true;
    do {
        int tag = dwarf_tag(&die);
        bool fine = true;
        if (tag == DW_TAG_subprogram)
            fine = add_die(to, &die, dwarf_dieoffset(&die));
        else if (tag == DW_TAG_namespace || tag == DW_TAG_module)
            fine = index_below(to, &die, depth + 1);
        else if (tag == DW_TAG_structure_type && dwarf_hasattr(&die, DW_AT_sibling) == 0)
            fine = index_below(to, &die, depth + 1); /* Rust puts methods there */
        if (!fine)
            return false;
    } while (dwarf_siblingof(&die, &die) == 0);
    return true;
}

/* ---- look-up ---- */

static const char *name_of(Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    Dwarf_Attribute *at = dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute);
    if (at == NULL)
        at = dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attribute);
    if (at == NULL)
        at = dwarf_attr_integrate(die, DW_AT_name, &attribute);
    return at != NULL ? dwarf_formstring(at) : NULL;
}

static uint64_t number_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value;
    return dwarf_formudata(dwarf_attr(die, name, &attribute), &value) == 0 ? value : 0;
}

/* The inlined functions at the address below a subprogram, outermost first; lexical blocks are only gone
 * through. */
static unsigned scopes_at(Dwarf_Die *subprogram, Dwarf_Addr address, Dwarf_Die *scopes)
{
    unsigned count = 0;
    Dwarf_Die die = *subprogram;
    for (unsigned depth = 0; depth < SCOPES_MAX; depth++) {
        Dwarf_Die child;
        bool found = false;
        if (dwarf_child(&die, &child) != 0)
            break;
        do {
            int tag = dwarf_tag(&child);
            found = (tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block) &&
                    dwarf_haspc(&child, address) == 1;
        } while (!found && dwarf_siblingof(&child, &child) == 0);
        if (!found)
            break;
        if (dwarf_tag(&child) == DW_TAG_inlined_subroutine)
            scopes[count++] = child;
        die = child;
    }
    return count;
}

static void line_at(Dwarf_Die *unit_die, Dwarf_Addr address, hak_symbol *out)
{
    Dwarf_Line *line = dwarf_getsrc_die(unit_die, address);
    int number = 0;
    if (line == NULL)
        return;
    out->file = dwarf_linesrc(line, NULL, NULL);
    if (dwarf_lineno(line, &number) == 0 && number > 0)
        out->line = (unsigned)number;
}

static void call_at(Dwarf_Die *unit_die, Dwarf_Die *inlined, hak_symbol *out)
{
    Dwarf_Files *files;
    size_t count;
    uint64_t file = number_of(inlined, DW_AT_call_file);
    if (dwarf_getsrcfiles(unit_die, &files, &count) == 0 && file < count)
        out->file = dwarf_filesrc(files, file, NULL, NULL);
    out->line = (unsigned)number_of(inlined, DW_AT_call_line);
}

uint32_t hak_units_find(hak_units *units, Dwarf_Addr address, hak_symbol *out, uint32_t max)
{
    const range *at = range_at(&units->ranges, address);
    if (at == NULL || max == 0)
        return 0;
    unit *u = &units->units[at->number];
    if (!u->indexed) {
        u->indexed = true;
        index_below(&u->subprograms, &u->die, 0);
        sort_ranges(&u->subprograms);
    }
    Dwarf_Die scopes[SCOPES_MAX + 1];
    const range *subprogram = range_at(&u->subprograms, address);
    unsigned count = 0;
    Dwarf *of = dwarf_cu_getdwarf(u->die.cu);
    if (subprogram != NULL && dwarf_offdie(of, subprogram->number, &scopes[0]) != NULL)
        count = 1 + scopes_at(&scopes[0], address, scopes + 1);
    hak_symbol symbol = {.function = NULL};
    uint32_t made = 0;
    line_at(&u->die, address, &symbol);
    if (count == 0 && symbol.line != 0)
        out[made++] = symbol;
    while (count-- != 0 && made < max) {
        symbol.function = name_of(&scopes[count]);
        out[made++] = symbol;
        symbol = (hak_symbol){.function = NULL};
        if (count != 0)
            call_at(&u->die, &scopes[count], &symbol);
    }
    return made;
}
