/* event.c: names and classes of operations, and why recordings end. */
#include "trace/event.h"

#include "trace/trace_format.h"

const char *hak_op_text(hak_op op)
{
    static const char *const texts[HAK_OP_COUNT] = {
#define X(name, text, op_class) text,
        HAK_OPS(X)
#undef X
    };
    return op < HAK_OP_COUNT ? texts[op] : "?";
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
