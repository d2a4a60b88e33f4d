/* knobs.c: the table of knobs.h as data. */
#include "core/knobs.h"

const hak_knob_info hak_knob_infos[HAK_KNOB_COUNT] = {
#define X(name, text, def, min, max, scale, family, help)                                                    \
    [HAK_KNOB_##name] = {text, def, min, max, HAK_SCALE_##scale, HAK_FAMILY_##family, help},
    HAK_KNOBS(X)
#undef X
};
