/* event.c: names and classes of operations, and why recordings end. */
#include "trace/event.h"

#include "trace/trace_format.h"

static const struct {
    const char *text;
    hak_op_class op_class;
} ops[HAK_OP_COUNT] = {
#define X(name, text, op_class) {text, HAK_CLASS_##op_class},
    HAK_OPS(X)
#undef X
};

const char *hak_op_text(hak_op op)
{
    return op < HAK_OP_COUNT ? ops[op].text : "?";
}

hak_op_class hak_op_class_of(hak_op op)
{
    return ops[op].op_class;
}

const char *hak_trace_end_text(uint64_t end)
{
    static const char *const texts[HAK_END_COUNT] = {
#define X(name, text) text,
        HAK_TRACE_ENDS(X)
#undef X
    };
    return end < HAK_END_COUNT ? texts[end] : "?";
}
