/* cfi.c: evaluates the CFI program of one return address. Never allocates, never trusts a length: every read
 * stays inside the module's mapping, every loop ends with its input. Any thread. */
#include "core/callsite/cfi.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

#include "core/base/wire.h"

enum { REG_BP = 6, REG_SP = 7, REG_RA = 16 };

/* Pointer encodings of .eh_frame (LSB Core 5, 10.5). */
enum {
    ENC_ABSPTR = 0x00,
    ENC_UDATA2 = 0x02,
    ENC_UDATA4 = 0x03,
    ENC_UDATA8 = 0x04,
    ENC_SDATA2 = 0x0a,
    ENC_SDATA4 = 0x0b,
    ENC_SDATA8 = 0x0c,
    ENC_PCREL = 0x10,
    ENC_INDIRECT = 0x80,
    ENC_OMIT = 0xff,
    ENC_TABLE = 0x3b, /* datarel | sdata4: what every linker writes */
};

#define MAX_REMEMBERED 16 /* nested DW_CFA_remember_state; compilers use one or two */

/* A loaded module, as far as its frame information goes. */
typedef struct module {
    const uint8_t *low;
    const uint8_t *high;
    const uint8_t *header; /* .eh_frame_hdr */
} module;

typedef enum rule_kind { RULE_SAME, RULE_OFFSET, RULE_UNDEFINED, RULE_BP_RELATIVE, RULE_OTHER } rule_kind;
typedef struct rule {
    rule_kind kind;
    int64_t offset; /* from the CFA; from BP with RULE_BP_RELATIVE */
} rule;

typedef enum cfa_kind { CFA_REGISTER, CFA_BP_DEREF, CFA_OTHER } cfa_kind;
typedef struct state {
    cfa_kind kind;
    uint64_t reg;
    int64_t offset;
    rule bp;
    rule ra;
} state;

typedef struct entry {
    uint64_t code_align;
    int64_t data_align;
    uint8_t encoding; /* of addresses in the FDE */
    bool augmented;   /* 'z' */
    bool signal_frame;
    hak_wire_in program; /* initial instructions */
} entry;

typedef struct machine {
    const entry *cie;
    state now;
    state initial;
    state remembered[MAX_REMEMBERED];
    unsigned depth;
    uintptr_t location;
} machine;

extern int _dl_find_object(void *, struct dl_find_object *) __attribute__((weak));

static int64_t get_sleb(hak_wire_in *in)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && in->at < in->end; shift += 7) {
        uint8_t byte = *in->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (shift + 7 < 64 && (byte & 0x40) != 0)
                value |= ~UINT64_C(0) << (shift + 7);
            return (int64_t)value;
        }
    }
    in->bad = true;
    return 0;
}

/* Absolute value of an encoded pointer; relative ones are relative to their own place. */
static uint64_t get_encoded(hak_wire_in *in, uint8_t encoding)
{
    uint64_t place = (uint64_t)(uintptr_t)in->at;
    uint64_t value;
    switch (encoding & 0x0f) {
    case ENC_ABSPTR:
    case ENC_UDATA8:
    case ENC_SDATA8:
        value = hak_get_fixed(in, 8);
        break;
    case ENC_UDATA4:
        value = hak_get_fixed(in, 4);
        break;
    case ENC_SDATA4:
        value = (uint64_t)(int64_t)(int32_t)hak_get_fixed(in, 4);
        break;
    case ENC_UDATA2:
        value = hak_get_fixed(in, 2);
        break;
    case ENC_SDATA2:
        value = (uint64_t)(int64_t)(int16_t)hak_get_fixed(in, 2);
        break;
    default:
        in->bad = true;
        return 0;
    }
    switch (encoding & 0x70) {
    case 0:
        return value;
    case ENC_PCREL:
        return place + value;
    default:
        in->bad = true;
        return 0;
    }
}

static int find_in_phdrs(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    struct {
        uintptr_t pc;
        module *found;
    } *query = data;
    const ElfW(Phdr) *frames = NULL;
    uintptr_t low = UINTPTR_MAX;
    uintptr_t high = 0;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_GNU_EH_FRAME)
            frames = segment;
        if (segment->p_type != PT_LOAD)
            continue;
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (start < low)
            low = start;
        if (start + segment->p_memsz > high)
            high = start + segment->p_memsz;
    }
    if (query->pc < low || query->pc >= high)
        return 0;
    if (frames == NULL)
        return 1;
    *query->found = (module){(const uint8_t *)low, (const uint8_t *)high,
                             (const uint8_t *)(info->dlpi_addr + frames->p_vaddr)};
    return 1;
}

static bool module_of(uintptr_t pc, module *found)
{
    *found = (module){0};
    if (_dl_find_object != NULL) {
        struct dl_find_object object;
        if (_dl_find_object((void *)pc, &object) != 0 || object.dlfo_eh_frame == NULL)
            return false;
        *found = (module){object.dlfo_map_start, object.dlfo_map_end, object.dlfo_eh_frame};
    } else {
        struct {
            uintptr_t pc;
            module *found;
        } query = {pc, found};
        dl_iterate_phdr(find_in_phdrs, &query);
    }
    return found->header != NULL && found->header >= found->low && found->header < found->high;
}

/* The FDE whose table entry is the last at or below `at`, or NULL. */
static const uint8_t *fde_of(const module *in_module, uintptr_t at)
{
    hak_wire_in in = hak_wire_in_of(in_module->header, (size_t)(in_module->high - in_module->header));
    uint8_t version = (uint8_t)hak_get_fixed(&in, 1);
    uint8_t frame_encoding = (uint8_t)hak_get_fixed(&in, 1);
    uint8_t count_encoding = (uint8_t)hak_get_fixed(&in, 1);
    uint8_t table_encoding = (uint8_t)hak_get_fixed(&in, 1);
    if (version != 1 || frame_encoding == ENC_OMIT || count_encoding == ENC_OMIT ||
        table_encoding != ENC_TABLE)
        return NULL;
    get_encoded(&in, frame_encoding);
    uint64_t count = get_encoded(&in, count_encoding);
    if (in.bad || count == 0 || count > hak_wire_left(&in) / 8)
        return NULL;

    struct row {
        int32_t location;
        int32_t fde;
    } row;
    const uint8_t *table = in.at;
    int64_t wanted = (int64_t)(at - (uintptr_t)in_module->header);
    size_t low = 0;
    size_t high = (size_t)count;
    while (high - low > 1) { /* invariant: table[low] <= wanted, once anything is */
        size_t middle = low + (high - low) / 2;
        memcpy(&row, table + 8 * middle, sizeof row);
        if (row.location <= wanted)
            low = middle;
        else
            high = middle;
    }
    memcpy(&row, table + 8 * low, sizeof row);
    if (row.location > wanted)
        return NULL;
    const uint8_t *fde = in_module->header + row.fde;
    return fde >= in_module->low && fde < in_module->high ? fde : NULL;
}

/* Body of the CIE or FDE at `at`, without its length. */
static hak_wire_in body_of(const module *in_module, const uint8_t *at)
{
    hak_wire_in in = hak_wire_in_of(at, (size_t)(in_module->high - at));
    uint64_t len_bytes = hak_get_fixed(&in, 4);
    if (in.bad || len_bytes < 4 || len_bytes > hak_wire_left(&in)) /* 0xffffffff, the 64-bit form, too */
        return (hak_wire_in){in.at, in.at, true};
    return hak_wire_in_of(in.at, (size_t)len_bytes);
}

static bool cie_parse(const module *in_module, const uint8_t *at, entry *cie)
{
    hak_wire_in in = body_of(in_module, at);
    uint64_t id = hak_get_fixed(&in, 4);
    uint8_t version = (uint8_t)hak_get_fixed(&in, 1);
    if (in.bad || id != 0 || (version != 1 && version != 3))
        return false;
    const char *augmentation = (const char *)in.at;
    size_t len = strnlen(augmentation, hak_wire_left(&in));
    if (len == hak_wire_left(&in))
        return false;
    in.at += len + 1;
    *cie = (entry){.encoding = ENC_ABSPTR};
    cie->code_align = hak_get_varint(&in);
    cie->data_align = get_sleb(&in);
    uint64_t return_register = version == 1 ? hak_get_fixed(&in, 1) : hak_get_varint(&in);
    if (return_register != REG_RA || (len != 0 && augmentation[0] != 'z'))
        return false;
    if (len != 0) {
        size_t data_bytes;
        const uint8_t *data = hak_get_bytes(&in, &data_bytes);
        if (data == NULL)
            return false;
        cie->augmented = true;
        hak_wire_in extra = hak_wire_in_of(data, data_bytes);
        for (size_t i = 1; i < len; i++) {
            switch (augmentation[i]) {
            case 'R':
                cie->encoding = (uint8_t)hak_get_fixed(&extra, 1);
                break;
            case 'L':
                hak_get_fixed(&extra, 1);
                break;
            case 'P': {
                uint8_t encoding = (uint8_t)hak_get_fixed(&extra, 1);
                get_encoded(&extra, encoding & 0x0f); /* skipped: only its size matters */
                break;
            }
            case 'S':
                cie->signal_frame = true;
                break;
            default:
                return false;
            }
        }
        if (extra.bad)
            return false;
    }
    cie->program = in;
    return !in.bad;
}

static rule *rule_of(state *at, uint64_t reg)
{
    return reg == REG_BP ? &at->bp : reg == REG_RA ? &at->ra : NULL;
}

static void set_rule(machine *m, uint64_t reg, rule_kind kind, int64_t offset)
{
    rule *changed = rule_of(&m->now, reg);
    if (changed != NULL)
        *changed = (rule){kind, offset};
}

static void restore_rule(machine *m, uint64_t reg)
{
    rule *changed = rule_of(&m->now, reg);
    if (changed != NULL)
        *changed = *rule_of(&m->initial, reg);
}

/* DW_OP_breg6 offset [DW_OP_deref]: what compilers write for functions that realign their stack. */
static bool bp_expression(hak_wire_in block, bool deref, int64_t *offset)
{
    if (hak_get_fixed(&block, 1) != 0x76)
        return false;
    *offset = get_sleb(&block);
    if (deref && hak_get_fixed(&block, 1) != 0x06)
        return false;
    return !block.bad && hak_wire_left(&block) == 0;
}

static void set_expression(machine *m, uint64_t reg, hak_wire_in block)
{
    int64_t offset;
    if (bp_expression(block, false, &offset))
        set_rule(m, reg, RULE_BP_RELATIVE, offset);
    else
        set_rule(m, reg, RULE_OTHER, 0);
}

static hak_wire_in get_block(hak_wire_in *in)
{
    size_t len_bytes;
    const uint8_t *bytes = hak_get_bytes(in, &len_bytes);
    return hak_wire_in_of(bytes, len_bytes);
}

/* Instructions that do not carry an operand in their first byte. False: unknown, give up. */
static bool step_extended(machine *m, hak_wire_in *in, uint8_t op)
{
    const entry *cie = m->cie;
    state *now = &m->now;
    uint64_t reg;
    switch (op) {
    case 0x00: /* nop */
        return true;
    case 0x01: /* set_loc */
        m->location = (uintptr_t)get_encoded(in, cie->encoding);
        return true;
    case 0x02: /* advance_loc1, 2, 4 */
        m->location += hak_get_fixed(in, 1) * cie->code_align;
        return true;
    case 0x03:
        m->location += hak_get_fixed(in, 2) * cie->code_align;
        return true;
    case 0x04:
        m->location += hak_get_fixed(in, 4) * cie->code_align;
        return true;
    case 0x05: /* offset_extended */
        reg = hak_get_varint(in);
        set_rule(m, reg, RULE_OFFSET, (int64_t)hak_get_varint(in) * cie->data_align);
        return true;
    case 0x06: /* restore_extended */
        restore_rule(m, hak_get_varint(in));
        return true;
    case 0x07: /* undefined */
        set_rule(m, hak_get_varint(in), RULE_UNDEFINED, 0);
        return true;
    case 0x08: /* same_value */
        set_rule(m, hak_get_varint(in), RULE_SAME, 0);
        return true;
    case 0x09: /* register */
        reg = hak_get_varint(in);
        hak_get_varint(in);
        set_rule(m, reg, RULE_OTHER, 0);
        return true;
    case 0x0a: /* remember_state */
        if (m->depth == MAX_REMEMBERED)
            return false;
        m->remembered[m->depth++] = *now;
        return true;
    case 0x0b: /* restore_state */
        if (m->depth == 0)
            return false;
        *now = m->remembered[--m->depth];
        return true;
    case 0x0c: /* def_cfa */
        now->kind = CFA_REGISTER;
        now->reg = hak_get_varint(in);
        now->offset = (int64_t)hak_get_varint(in);
        return true;
    case 0x0d: /* def_cfa_register */
        now->kind = CFA_REGISTER;
        now->reg = hak_get_varint(in);
        return true;
    case 0x0e: /* def_cfa_offset */
        now->offset = (int64_t)hak_get_varint(in);
        return true;
    case 0x0f: /* def_cfa_expression */
        now->kind = bp_expression(get_block(in), true, &now->offset) ? CFA_BP_DEREF : CFA_OTHER;
        return true;
    case 0x10: /* expression */
        reg = hak_get_varint(in);
        set_expression(m, reg, get_block(in));
        return true;
    case 0x11: /* offset_extended_sf */
        reg = hak_get_varint(in);
        set_rule(m, reg, RULE_OFFSET, get_sleb(in) * cie->data_align);
        return true;
    case 0x12: /* def_cfa_sf */
        now->kind = CFA_REGISTER;
        now->reg = hak_get_varint(in);
        now->offset = get_sleb(in) * cie->data_align;
        return true;
    case 0x13: /* def_cfa_offset_sf */
        now->offset = get_sleb(in) * cie->data_align;
        return true;
    case 0x14: /* val_offset, val_offset_sf: the value itself, not where it is stored */
        reg = hak_get_varint(in);
        hak_get_varint(in);
        set_rule(m, reg, RULE_OTHER, 0);
        return true;
    case 0x15:
        reg = hak_get_varint(in);
        get_sleb(in);
        set_rule(m, reg, RULE_OTHER, 0);
        return true;
    case 0x16: /* val_expression */
        reg = hak_get_varint(in);
        get_block(in);
        set_rule(m, reg, RULE_OTHER, 0);
        return true;
    case 0x2e: /* GNU_args_size */
        hak_get_varint(in);
        return true;
    default:
        return false;
    }
}

/* Runs instructions while they apply to `target`. False: something here is beyond us. */
static bool run(machine *m, hak_wire_in in, uintptr_t target)
{
    while (hak_wire_left(&in) != 0 && m->location <= target) {
        uint8_t byte = (uint8_t)hak_get_fixed(&in, 1);
        uint8_t operand = byte & 0x3f;
        switch (byte & 0xc0) {
        case 0x40: /* advance_loc */
            m->location += operand * m->cie->code_align;
            break;
        case 0x80: /* offset */
            set_rule(m, operand, RULE_OFFSET, (int64_t)hak_get_varint(&in) * m->cie->data_align);
            break;
        case 0xc0: /* restore */
            restore_rule(m, operand);
            break;
        default:
            if (!step_extended(m, &in, byte))
                return false;
        }
        if (in.bad)
            return false;
    }
    return true;
}

static bool fits_slot(int64_t offset)
{
    return offset % 8 == 0 && offset / 8 >= INT16_MIN && offset / 8 <= INT16_MAX;
}

static hak_frame_row row_of(const state *at)
{
    const hak_frame_row dynamic = {.kind = HAK_FRAME_DYNAMIC};
    if (at->ra.kind == RULE_UNDEFINED)
        return (hak_frame_row){.kind = HAK_FRAME_END};
    if (at->ra.kind != RULE_OFFSET || at->ra.offset != -8 || at->offset < INT32_MIN || at->offset > INT32_MAX)
        return dynamic;

    hak_frame_row row = {.cfa_offset = (int32_t)at->offset};
    if (at->kind == CFA_BP_DEREF) {
        if (at->bp.kind != RULE_BP_RELATIVE || !fits_slot(at->bp.offset))
            return dynamic;
        row.kind = HAK_FRAME_BP_DEREF;
        row.bp_slot = (int16_t)(at->bp.offset / 8);
        return row;
    }
    if (at->kind != CFA_REGISTER || (at->reg != REG_SP && at->reg != REG_BP))
        return dynamic;
    row.kind = at->reg == REG_SP ? HAK_FRAME_SP : HAK_FRAME_BP;
    if (at->bp.kind == RULE_OFFSET) {
        if (!fits_slot(at->bp.offset) || at->bp.offset == 0)
            return dynamic;
        row.bp_slot = (int16_t)(at->bp.offset / 8);
    } else if (at->bp.kind != RULE_SAME) {
        return dynamic;
    }
    return row;
}

hak_frame_row hak_cfi_row(uintptr_t pc)
{
    const hak_frame_row dynamic = {.kind = HAK_FRAME_DYNAMIC};
    uintptr_t target = pc - 1; /* a call may be the last instruction of its function */
    module in_module;
    entry cie;
    if (pc < 2 || !module_of(target, &in_module))
        return dynamic;
    const uint8_t *fde = fde_of(&in_module, target);
    if (fde == NULL)
        return dynamic;

    hak_wire_in in = body_of(&in_module, fde);
    const uint8_t *place = in.at;
    uint64_t cie_distance = hak_get_fixed(&in, 4);
    if (in.bad || cie_distance == 0 || cie_distance > (uint64_t)(place - in_module.low) ||
        !cie_parse(&in_module, place - cie_distance, &cie) || cie.signal_frame ||
        (cie.encoding & ENC_INDIRECT) != 0)
        return dynamic;
    uint64_t start = get_encoded(&in, cie.encoding);
    uint64_t len_bytes = get_encoded(&in, cie.encoding & 0x0f);
    if (cie.augmented)
        get_block(&in);
    if (in.bad || target < start || target - start >= len_bytes)
        return dynamic;

    machine m = {.cie = &cie, .location = 0};
    if (!run(&m, cie.program, UINTPTR_MAX))
        return dynamic;
    m.initial = m.now;
    m.location = (uintptr_t)start;
    if (!run(&m, in, target))
        return dynamic;
    return row_of(&m.now);
}

bool hak_cfi_covers(uintptr_t pc)
{
    module in_module;
    return pc >= 2 && module_of(pc - 1, &in_module) && fde_of(&in_module, pc - 1) != NULL;
}
