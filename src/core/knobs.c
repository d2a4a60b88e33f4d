/* knobs.c: the table of knobs.h as data. */
#include "core/knobs.h"

const hak_knob_info hak_knob_infos[HAK_KNOB_COUNT] = {
#define X(name, text, def, min, max, scale, family, help)                                                    \
    [HAK_KNOB_##name] = {text, def, min, max, HAK_SCALE_##scale, HAK_FAMILY_##family, help},
    HAK_KNOBS(X)
#undef X
};

#define WAYS_ONCE 64 /* limit of bigcache_ways in policies of earlier versions */

bool hak_knob_accept(hak_knob knob, int64_t *value)
{
    const hak_knob_info *info = &hak_knob_infos[knob];
    int64_t once = knob == HAK_KNOB_BIGCACHE_WAYS ? WAYS_ONCE : info->max;
    if (*value < info->min || *value > once)
        return false;
    if (*value > info->max)
        *value = info->max;
    return true;
}
