/* names.h: parts of a demangled function's name. Pure, any thread. */
#ifndef HAK_REPLAY_NAMES_H
#define HAK_REPLAY_NAMES_H

#include "core/base/types.h"

/* "ns::Class<T>::method" of "int ns::Class<T>::method(int) const": start of the qualified name, *end behind
 * it. Points into the argument. */
const char *hak_name_bare(const char *function, const char **end);

/* D: "std.array.Array!(int).reserve", by what hak_name_bare gave. */
bool hak_name_is_dotted(const char *start, const char *end);

/* "method": the last component without template arguments. out is always terminated. */
void hak_name_last(const char *function, char *out, size_t room);

/* "Class": the component before the last, likewise; "" when there is none. */
void hak_name_owner(const char *function, char *out, size_t room);

/* Whether a pattern means the function: equal to the whole name, to its bare name or to its last component;
 * with * or ? in it, as fnmatch(3) of the bare name. */
bool hak_name_matches(const char *pattern, const char *function);

#endif
