/* json.c: see json.h. Recursive descent, bounded by HAK_JSON_MAX_DEPTH; texts are decoded in place. Pure. */
#include "replay/json.h"

#include <stdlib.h>
#include <string.h>

typedef struct parser {
    char *at, *end;
    unsigned depth;
    bool no_memory;
} parser;

static hak_json *value(parser *p);

static void blanks(parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r'))
        p->at++;
}

static bool take(parser *p, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(p->end - p->at) < len || memcmp(p->at, word, len) != 0)
        return false;
    p->at += len;
    return true;
}

static hak_json *node_new(parser *p, hak_json_kind kind)
{
    hak_json *node = calloc(1, sizeof *node);
    if (node == NULL)
        p->no_memory = true;
    else
        node->kind = kind;
    return node;
}

/* The four digits behind \u; -1 if they are none. */
static int code_unit(parser *p)
{
    int unit = 0;
    if (p->end - p->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = *p->at++;
        int digit = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                             : -1;
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

/* A text in quotes, decoded where it stands; NULL if it is none. */
static char *text(parser *p)
{
    static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    if (p->at == p->end || *p->at != '"')
        return NULL;
    char *start = ++p->at, *to = start;
    while (p->at < p->end && *p->at != '"') {
        char c = *p->at++;
        if ((unsigned char)c < ' ')
            return NULL;
        if (c == '\\') {
            if (p->at == p->end)
                return NULL;
            c = *p->at++;
            if (c == 'u') {
                int unit = code_unit(p);
                if (unit < 0)
                    return NULL;
                c = unit > 0 && unit < 0x100 ? (char)unit : '?';
            } else {
                const char *found = NULL;
                for (const char *e = escapes; *e != '\0' && found == NULL; e += 2)
                    found = *e == c ? e : NULL;
                if (found == NULL)
                    return NULL;
                c = found[1];
            }
        }
        *to++ = c;
    }
    if (p->at == p->end)
        return NULL;
    p->at++;
    *to = '\0'; /* at most where the closing quote stood */
    return start;
}

static bool members(parser *p, hak_json *node, char close, bool keyed)
{
    hak_json **tail = &node->first;
    p->at++;
    blanks(p);
    if (p->at < p->end && *p->at == close) {
        p->at++;
        return true;
    }
    for (;;) {
        char *key = NULL;
        blanks(p);
        if (keyed) {
            key = text(p);
            blanks(p);
            if (key == NULL || !take(p, ":"))
                return false;
        }
        hak_json *child = value(p);
        if (child == NULL)
            return false;
        child->key = key;
        *tail = child;
        tail = &child->next;
        blanks(p);
        if (p->at == p->end)
            return false;
        char c = *p->at++;
        if (c == close)
            return true;
        if (c != ',') {
            p->at--;
            return false;
        }
    }
}

static hak_json *number(parser *p)
{
    char *stop = NULL;
    char saved = *p->end;
    *p->end = '\0';
    double found = strtod(p->at, &stop);
    *p->end = saved;
    if (stop == p->at || strchr("-0123456789", *p->at) == NULL)
        return NULL;
    p->at = stop;
    hak_json *node = node_new(p, HAK_JSON_NUMBER);
    if (node != NULL)
        node->number = found;
    return node;
}

static hak_json *value(parser *p)
{
    hak_json *node = NULL;
    blanks(p);
    if (p->at == p->end || p->depth == HAK_JSON_MAX_DEPTH)
        return NULL;
    char c = *p->at;
    if (c == '{' || c == '[') {
        node = node_new(p, c == '{' ? HAK_JSON_OBJECT : HAK_JSON_LIST);
        p->depth++;
        bool whole = node != NULL && members(p, node, c == '{' ? '}' : ']', c == '{');
        p->depth--;
        if (whole)
            return node;
        hak_json_free(node);
        return NULL;
    }
    if (c == '"') {
        char *found = text(p);
        if (found != NULL && (node = node_new(p, HAK_JSON_TEXT)) != NULL)
            node->text = found;
        return node;
    }
    if (take(p, "null"))
        return node_new(p, HAK_JSON_NULL);
    if (take(p, "true"))
        return node_new(p, HAK_JSON_TRUE);
    if (take(p, "false"))
        return node_new(p, HAK_JSON_FALSE);
    return number(p);
}

hak_json *hak_json_parse(char *source, size_t len_bytes, size_t *fault_at)
{
    parser p = {source, source + len_bytes, 0, false};
    hak_json *root = len_bytes <= HAK_JSON_MAX_BYTES ? value(&p) : NULL;
    if (root != NULL) {
        blanks(&p);
        if (p.at == p.end)
            return root;
        hak_json_free(root);
    }
    *fault_at = p.no_memory ? SIZE_MAX : (size_t)(p.at - source);
    return NULL;
}

/* Children first; siblings in a loop, so that only nesting recurses. */
void hak_json_free(hak_json *root)
{
    while (root != NULL) {
        hak_json *next = root->next;
        hak_json_free(root->first);
        free(root);
        root = next;
    }
}

const hak_json *hak_json_member(const hak_json *object, const char *key)
{
    const hak_json *at = object != NULL && object->kind == HAK_JSON_OBJECT ? object->first : NULL;
    while (at != NULL && strcmp(at->key, key) != 0)
        at = at->next;
    return at;
}

double hak_json_number(const hak_json *object, const char *key)
{
    const hak_json *found = hak_json_member(object, key);
    return found != NULL && found->kind == HAK_JSON_NUMBER ? found->number : 0;
}

const char *hak_json_text(const hak_json *object, const char *key)
{
    const hak_json *found = hak_json_member(object, key);
    return found != NULL && found->kind == HAK_JSON_TEXT ? found->text : "";
}

bool hak_json_true(const hak_json *object, const char *key)
{
    const hak_json *found = hak_json_member(object, key);
    return found != NULL && found->kind == HAK_JSON_TRUE;
}
