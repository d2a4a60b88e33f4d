/* event.c: names and classes of operations. */
#include "trace/event.h"

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
