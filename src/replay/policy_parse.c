/* policy_parse.c: text to policy. Line by line, every word checked; what is not understood is refused with
 * its line. Empty lines and lines that begin with # are skipped. Never prints. */
#include "replay/policy_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE_BYTES 65536
#define MAX_WORDS      (HAK_POLICY_MAX_CLASSES + 2)

typedef struct parser {
    hak_policy *policy;
    hak_policy_error *error;
    uint64_t line;
    bool seen_head;
    uint32_t open[HAK_POLICY_MAX_DEPTH]; /* site last seen at each depth */
    unsigned open_count;
} parser;

#define FAIL(p, ...) (hak_policy_fail((p)->error, (p)->line, __VA_ARGS__), false)

static bool number(const char *text, int base, uint64_t max, uint64_t *value)
{
    if (*text < '0' || *text > 'f')
        return false;
    char *end;
    errno = 0;
    *value = strtoull(text, &end, base);
    return errno == 0 && *end == 0 && *value <= max;
}

static bool signed_number(const char *text, int64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno == 0 && *end == 0 && end != text && *text != ' ';
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; \xNN and nothing else. False on a bad escape, or one that would give NUL. */
static bool unescape(char *text)
{
    char *to = text;
    for (; *text != 0; text++) {
        if (*text != '\\') {
            *to++ = *text;
            continue;
        }
        if (text[1] != 'x' || hex_digit(text[2]) < 0 || hex_digit(text[3]) < 0)
            return false;
        int c = hex_digit(text[2]) * 16 + hex_digit(text[3]);
        if (c == 0)
            return false;
        *to++ = (char)c;
        text += 3;
    }
    *to = 0;
    return true;
}

static bool word_index(const char *word, const char *(*text)(uint32_t), uint8_t *index)
{
    for (uint32_t i = 0; strcmp(text(i), "?") != 0; i++)
        if (strcmp(text(i), word) == 0) {
            *index = (uint8_t)i;
            return true;
        }
    return false;
}

static unsigned split(char *text, char **words)
{
    unsigned count = 0;
    char *save = NULL;
    for (char *w = strtok_r(text, " ", &save); w != NULL && count < MAX_WORDS; w = strtok_r(NULL, " ", &save))
        words[count++] = w;
    return count;
}

static bool parse_head(parser *p, char *rest)
{
    uint64_t version;
    if (!number(rest, 10, UINT32_MAX, &version) || version != HAK_POLICY_VERSION)
        return FAIL(p, "made for another version of hakmem");
    p->seen_head = true;
    return true;
}

static bool parse_state(parser *p, char *rest)
{
    uint8_t state;
    if (!word_index(rest, hak_policy_state_text, &state))
        return FAIL(p, "state is none of learn, frozen, canary, retired");
    p->policy->state = state;
    return true;
}

static bool parse_created(parser *p, char *rest)
{
    return number(rest, 10, UINT64_MAX, &p->policy->created_unix_s) ||
           FAIL(p, "created needs seconds since 1970");
}

static bool parse_program(parser *p, char *rest)
{
    if (!unescape(rest) || *rest == 0)
        return FAIL(p, "program needs a name");
    free(p->policy->program);
    p->policy->program = strdup(rest);
    return p->policy->program != NULL || FAIL(p, "out of memory");
}

static bool parse_set(parser *p, char *rest)
{
    char *words[MAX_WORDS];
    int64_t value;
    if (split(rest, words) != 2 || !signed_number(words[1], &value))
        return FAIL(p, "set needs a setting and a number");
    for (uint32_t i = 0; i < HAK_KNOB_COUNT; i++) {
        const hak_knob_info *info = &hak_knob_infos[i];
        if (strcmp(info->text, words[0]) != 0)
            continue;
        if (!hak_knob_accept((hak_knob)i, &value))
            return FAIL(p, "%s must be between %lld and %lld", info->text, (long long)info->min,
                        (long long)info->max);
        p->policy->knob_set[i] = true;
        p->policy->knobs[i] = value;
        return true;
    }
    return FAIL(p, "no such setting: %.64s", words[0]);
}

static bool parse_classes(parser *p, char *rest)
{
    char *words[MAX_WORDS];
    unsigned count = split(rest, words);
    if (count > HAK_POLICY_MAX_CLASSES)
        return FAIL(p, "more than %d size classes", HAK_POLICY_MAX_CLASSES);
    for (unsigned i = 0; i < count; i++) {
        uint64_t size;
        if (!number(words[i], 10, HAK_POLICY_MAX_CLASS_BYTES, &size))
            return FAIL(p, "a size class must be a number up to %d", HAK_POLICY_MAX_CLASS_BYTES);
        p->policy->classes[i] = (uint32_t)size;
    }
    p->policy->class_count = count;
    return true;
}

static bool parse_cache(parser *p, char *rest)
{
    char *words[MAX_WORDS];
    unsigned count = split(rest, words);
    uint64_t class_bytes, value;
    if (count < 2 || !number(words[0], 10, HAK_POLICY_MAX_CLASS_BYTES, &class_bytes) || class_bytes == 0)
        return FAIL(p, "cache needs a size up to %d, and keep= or refill=", HAK_POLICY_MAX_CLASS_BYTES);
    hak_policy_cache *cache = hak_policy_add_cache(p->policy, (uint32_t)class_bytes);
    if (cache == NULL)
        return FAIL(p, "more than %d classes with caches of their own", HAK_POLICY_MAX_CLASSES);
    for (unsigned i = 1; i < count; i++) {
        bool keep = strncmp(words[i], "keep=", 5) == 0;
        if (!keep && strncmp(words[i], "refill=", 7) != 0)
            return FAIL(p, "cache takes keep= and refill=, not: %.64s", words[i]);
        const hak_knob_info *info =
            &hak_knob_infos[keep ? HAK_KNOB_TINY_CACHE_COUNT : HAK_KNOB_TINY_REFILL_COUNT];
        if (!number(words[i] + (keep ? 5 : 7), 10, (uint64_t)info->max, &value) || value == 0)
            return FAIL(p, "%s must be between 1 and %lld", keep ? "keep" : "refill", (long long)info->max);
        *(keep ? &cache->keep_count : &cache->refill_count) = (uint32_t)value;
    }
    return true;
}

static bool parse_gate(parser *p, char *rest)
{
    char *words[MAX_WORDS];
    uint64_t low, high;
    if (split(rest, words) != 2 || !number(words[0], 10, UINT32_MAX, &low) ||
        !number(words[1], 10, UINT32_MAX, &high))
        return FAIL(p, "gate needs two sizes");
    return hak_policy_add_gate(p->policy, (uint32_t)low, (uint32_t)high) || FAIL(p, "too many gates");
}

static bool parse_build_id(const char *text, hak_policy_module *module)
{
    size_t digits = strlen(text);
    if (digits == 0 || digits % 2 != 0 || digits > 2 * sizeof module->build_id)
        return false;
    for (size_t i = 0; i < digits / 2; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        module->build_id[i] = (uint8_t)(high * 16 + low);
    }
    module->build_id_bytes = (uint8_t)(digits / 2);
    return true;
}

/* "m3" -> 3. */
static bool module_number(const char *text, uint32_t *index)
{
    uint64_t value;
    if (text[0] != 'm' || !number(text + 1, 10, HAK_POLICY_MAX_MODULES - 1, &value))
        return false;
    *index = (uint32_t)value;
    return true;
}

static bool parse_module(parser *p, char *rest)
{
    hak_policy_module module = {.weight = 0};
    char *path = strstr(rest, " path=");
    if (path == NULL)
        return FAIL(p, "module needs path=");
    *path = 0;
    path += strlen(" path=");
    char *words[MAX_WORDS];
    unsigned count = split(rest, words);
    uint32_t index;
    if (count == 0 || !module_number(words[0], &index) || index != p->policy->module_count)
        return FAIL(p, "modules must be numbered m0, m1, …");
    for (unsigned i = 1; i < count; i++) {
        uint64_t value;
        if (strncmp(words[i], "weight=", 7) == 0 && number(words[i] + 7, 10, 1000000, &value))
            module.weight = (uint32_t)value;
        else if (strncmp(words[i], "build-id=", 9) != 0 || !parse_build_id(words[i] + 9, &module))
            return FAIL(p, "not understood: %.64s", words[i]);
    }
    if (!unescape(path))
        return FAIL(p, "bad escape in path");
    return hak_policy_add_module(p->policy, &module, path) != UINT32_MAX || FAIL(p, "too many modules");
}

/* "sp+48", "bp+16,-2" or "*bp-8". */
static bool parse_row(char *text, hak_frame_row *row)
{
    int64_t cfa_offset, bp_slot = 0;
    char *comma = strchr(text, ',');
    if (comma != NULL) {
        *comma = 0;
        if (!signed_number(comma + 1, &bp_slot) || bp_slot < INT16_MIN || bp_slot > INT16_MAX || bp_slot == 0)
            return false;
    }
    if (strncmp(text, "*bp", 3) == 0) {
        row->kind = HAK_FRAME_BP_DEREF;
        text++;
    } else if (strncmp(text, "sp", 2) == 0) {
        row->kind = HAK_FRAME_SP;
    } else if (strncmp(text, "bp", 2) == 0) {
        row->kind = HAK_FRAME_BP;
    } else {
        return false;
    }
    if (!signed_number(text + 2, &cfa_offset) || cfa_offset < INT32_MIN || cfa_offset > INT32_MAX)
        return false;
    row->cfa_offset = (int32_t)cfa_offset;
    row->bp_slot = (int16_t)bp_slot;
    return true;
}

static bool parse_site_word(hak_policy_node *node, char *word)
{
    uint64_t value;
    char *equals = strchr(word, '=');
    if (equals == NULL) {
        node->flags |= HAK_NODE_REMOTE_FREED;
        return strcmp(word, "remote-freed") == 0;
    }
    *equals = 0;
    char *text = equals + 1;
    if (strcmp(word, "up") == 0) {
        node->flags |= HAK_NODE_DEEPER;
        return parse_row(text, &node->row);
    }
    if (strcmp(word, "lifetime") == 0)
        return word_index(text, hak_policy_lifetime_text, &node->lifetime);
    if (strcmp(word, "retention") == 0)
        return word_index(text, hak_policy_retention_text, &node->retention);
    if (strcmp(word, "thp") == 0)
        return word_index(text, hak_policy_thp_text, &node->thp);
    if (!number(text, 10, UINT64_MAX, &value))
        return false;
    if (strcmp(word, "slack") == 0 && value <= HAK_POLICY_MAX_SLACK)
        node->slack_percent = (uint8_t)value;
    else if (strcmp(word, "blocks") == 0 && value <= UINT32_MAX)
        node->weight = (uint32_t)value;
    else if (strcmp(word, "purity") == 0 && value <= 1000000)
        node->purity_ppm = (uint32_t)value;
    else if (strcmp(word, "size") == 0)
        node->size_bytes = value;
    else
        return false;
    return true;
}

static bool parse_site(parser *p, char *rest, unsigned depth)
{
    if (depth > p->open_count || depth >= HAK_POLICY_MAX_DEPTH)
        return FAIL(p, "site is indented deeper than its caller allows");
    hak_policy_node node = {.parent = depth == 0 ? HAK_POLICY_ROOT : p->open[depth - 1]};
    if (depth > 0 && (p->policy->nodes[node.parent].flags & HAK_NODE_DEEPER) == 0)
        return FAIL(p, "the site above has no up=, so it cannot have callers");
    char *words[MAX_WORDS];
    unsigned count = split(rest, words);
    char *plus = count > 0 ? strchr(words[0], '+') : NULL;
    if (plus == NULL)
        return FAIL(p, "site needs an address like m0+0x1234");
    *plus = 0;
    if (!module_number(words[0], &node.module) || strncmp(plus + 1, "0x", 2) != 0 ||
        !number(plus + 3, 16, UINT64_MAX, &node.offset))
        return FAIL(p, "site needs an address like m0+0x1234");
    for (unsigned i = 1; i < count; i++)
        if (!parse_site_word(&node, words[i]))
            return FAIL(p, "not understood: %.64s", words[i]);
    p->open[depth] = hak_policy_add_node(p->policy, &node);
    p->open_count = depth + 1;
    return p->open[depth] != UINT32_MAX || FAIL(p, "too many sites");
}

static bool parse_evidence(parser *p, char *rest, char **evidence, size_t *len_bytes, size_t *room_bytes)
{
    if (!unescape(rest) || strchr(rest, '\n') != NULL)
        return FAIL(p, "bad escape in evidence");
    size_t line_bytes = strlen(rest);
    if (*len_bytes + line_bytes + 2 > *room_bytes) {
        size_t wanted_bytes = 2 * (*room_bytes + line_bytes) + 256;
        char *grown = realloc(*evidence, wanted_bytes);
        if (grown == NULL)
            return FAIL(p, "out of memory");
        *evidence = grown;
        *room_bytes = wanted_bytes;
    }
    memcpy(*evidence + *len_bytes, rest, line_bytes);
    memcpy(*evidence + *len_bytes + line_bytes, "\n", 2);
    *len_bytes += line_bytes + 1;
    return true;
}

static const struct {
    const char *word;
    bool (*parse)(parser *p, char *rest);
} lines[] = {
    {"state", parse_state}, {"created", parse_created}, {"program", parse_program},
    {"set", parse_set},     {"classes", parse_classes}, {"cache", parse_cache},
    {"gate", parse_gate},   {"module", parse_module},
};

static bool parse_line(parser *p, char *line, size_t *len_bytes, size_t *room_bytes)
{
    unsigned indent = (unsigned)strspn(line, " ");
    char *word = line + indent;
    if (*word == 0 || *word == '#')
        return true;
    char *rest = word + strcspn(word, " ");
    if (*rest != 0)
        *rest++ = 0;
    if (!p->seen_head)
        return strcmp(word, "hakmem-policy") == 0
                   ? parse_head(p, rest)
                   : FAIL(p, "not a policy: the first line is hakmem-policy 1");
    if (strcmp(word, "site") == 0)
        return indent % 2 == 0 ? parse_site(p, rest, indent / 2)
                               : FAIL(p, "indentation is two spaces a frame");
    if (strcmp(word, "evidence") == 0)
        return parse_evidence(p, rest, &p->policy->evidence, len_bytes, room_bytes);
    for (size_t i = 0; i < HAK_COUNT_OF(lines); i++)
        if (strcmp(lines[i].word, word) == 0)
            return lines[i].parse(p, rest);
    return FAIL(p, "not understood: %.64s", word);
}

static bool parse_all(parser *p, const char *text, size_t len_bytes)
{
    size_t evidence_bytes = 0, evidence_room = 0;
    char *line = malloc(MAX_LINE_BYTES);
    bool good = line != NULL || FAIL(p, "out of memory");
    while (good && len_bytes > 0) {
        p->line++;
        const char *newline = memchr(text, '\n', len_bytes);
        size_t line_bytes = newline != NULL ? (size_t)(newline - text) : len_bytes;
        if (line_bytes >= MAX_LINE_BYTES || memchr(text, 0, line_bytes) != NULL) {
            good = FAIL(p, "not text, or a line above 64 KiB");
            break;
        }
        memcpy(line, text, line_bytes);
        line[line_bytes] = 0;
        good = parse_line(p, line, &evidence_bytes, &evidence_room);
        text += line_bytes + (newline != NULL);
        len_bytes -= line_bytes + (newline != NULL);
    }
    free(line);
    if (good && !p->seen_head)
        good = FAIL(p, "not a policy: it is empty");
    return good;
}

/* What the lines cannot see alone: the whole must pass the check that the allocator makes. */
static bool check_whole(parser *p)
{
    p->line = 0;
    if (!hak_policy_sort(p->policy))
        return FAIL(p, "out of memory");
    for (uint32_t i = 1; i < p->policy->node_count; i++) {
        const hak_policy_node *a = &p->policy->nodes[i - 1], *b = &p->policy->nodes[i];
        if (a->parent == b->parent && a->module == b->module && a->offset == b->offset)
            return FAIL(p, "site m%u+0x%llx appears twice under the same caller", b->module,
                        (unsigned long long)b->offset);
    }
    size_t len_bytes;
    void *bytes = hak_policy_encode(p->policy, &len_bytes, p->error);
    free(bytes);
    return bytes != NULL;
}

int hak_policy_parse(const char *text, size_t len_bytes, hak_policy *policy, hak_policy_error *error)
{
    hak_policy_init(policy);
    parser p = {.policy = policy, .error = error};
    if (parse_all(&p, text, len_bytes) && check_whole(&p))
        return 0;
    hak_policy_clear(policy);
    return -1;
}
