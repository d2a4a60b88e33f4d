/* policy_format.h: the compiled policy, as the allocator maps it. Little endian, 8-byte aligned, offsets in
 * bytes from the start of the file; hakmem-policy(5) describes this and the text form. Written by
 * src/replay/, checked by hak_policy_check (policy_check.c), which the allocator, the tools and the fuzzer
 * share.
 *
 * Nothing in here is executed or trusted: after hak_policy_check every offset, count and number is in range,
 * and the worst a hostile policy can do is to make a program slower. */
#ifndef HAK_CORE_POLICY_FORMAT_H
#define HAK_CORE_POLICY_FORMAT_H

#include "core/base/types.h"
#include "core/callsite/frame.h"
#include "core/knobs.h"

#define HAK_POLICY_MAGIC           "HAKPOL1\n" /* 8 bytes, no NUL */
#define HAK_POLICY_VERSION         1
#define HAK_POLICY_MAX_BYTES       (16 * HAK_MIB)
#define HAK_POLICY_MAX_NODES       65536
#define HAK_POLICY_MAX_MODULES     256
#define HAK_POLICY_MAX_DEPTH       16
#define HAK_POLICY_MAX_CLASSES     128 /* fitted size classes, at most */
#define HAK_POLICY_MAX_SETTINGS    (HAK_KNOB_COUNT + 2 * HAK_POLICY_MAX_CLASSES)
#define HAK_POLICY_MAX_CLASS_BYTES 32768
#define HAK_POLICY_MAX_GATE        1024 /* size ranges */
#define HAK_POLICY_MAX_SLACK       25   /* percent */
#define HAK_POLICY_ROOT            UINT32_MAX

typedef enum hak_policy_state {
    HAK_STATE_LEARN,
    HAK_STATE_FROZEN,
    HAK_STATE_CANARY,
    HAK_STATE_RETIRED
} hak_policy_state;

/* A part of the file: count entries from offset. count 0: absent, offset 0. Parts lie in the header's order.
 */
typedef struct hak_policy_part {
    uint32_t offset;
    uint32_t count;
} hak_policy_part;

typedef struct hak_policy_header {
    char magic[8];
    uint32_t version;
    uint32_t size_bytes; /* of the file */
    uint32_t crc32;      /* of all bytes after this field */
    uint32_t state;      /* hak_policy_state */
    uint64_t created_unix_s;
    hak_policy_part program; /* bytes: name of the program, for people */
    hak_policy_part knobs;   /* hak_policy_setting, ascending (knob, class_bytes) */
    hak_policy_part classes; /* uint32_t: block sizes, ascending, multiples of 16, last one <= 32768 */
    hak_policy_part gate; /* uint32_t pairs {low, high}: request sizes in [low, high] consult the site trie;
                             ascending, disjoint */
    hak_policy_part modules; /* hak_policy_module */
    hak_policy_part nodes;   /* hak_policy_node; strictly ascending by (parent, module, offset), the root's
                                children first: a parent precedes its children, no context occurs twice */
    hak_policy_part strings; /* bytes: module paths, NUL-terminated */
    hak_policy_part
        evidence; /* bytes: UTF-8 lines "key value", for people and for merging; the allocator skips it */
} hak_policy_header;

typedef struct hak_policy_setting {
    uint32_t knob;        /* hak_knob */
    uint32_t class_bytes; /* 0: of the process; else of the size class that holds such a request: only
                             HAK_KNOB_TINY_CACHE_COUNT and HAK_KNOB_TINY_REFILL_COUNT, multiples of 16 */
    int64_t value;        /* within the knob's limits */
} hak_policy_setting;

typedef struct hak_policy_module {
    uint8_t build_id[20];
    uint8_t build_id_bytes; /* 0: matched by base name of path only */
    uint8_t reserved[3];
    uint32_t path;   /* offset within strings */
    uint32_t weight; /* share of the recorded allocations it takes part in, parts per million */
} hak_policy_module;

typedef enum hak_site_lifetime {
    HAK_LIFETIME_DEFAULT,
    HAK_LIFETIME_SHORT,
    HAK_LIFETIME_LONG
} hak_site_lifetime;
typedef enum hak_site_retention {
    HAK_RETENTION_DEFAULT,
    HAK_RETENTION_KEEP,
    HAK_RETENTION_ADAPTIVE,
    HAK_RETENTION_BATCH
} hak_site_retention;
typedef enum hak_site_thp { HAK_THP_DEFAULT, HAK_THP_OFF, HAK_THP_ON } hak_site_thp;

enum {
    HAK_NODE_DEEPER = 1,       /* not a leaf: step up with `row` and look for children of this node */
    HAK_NODE_REMOTE_FREED = 2, /* leaf: blocks are freed by other threads */
};

/* One return address under its parent. The root's children are the return addresses of malloc itself. */
typedef struct hak_policy_node {
    uint64_t offset; /* return address - load bias of the module */
    uint32_t module;
    uint32_t parent;   /* HAK_POLICY_ROOT, or an earlier node with HAK_NODE_DEEPER */
    hak_frame_row row; /* only with HAK_NODE_DEEPER: SP, BP or BP_DEREF; else zero */
    uint8_t flags;
    uint8_t lifetime;      /* hak_site_lifetime; a DEEPER node's values are the default for unseen children */
    uint8_t retention;     /* hak_site_retention */
    uint8_t thp;           /* hak_site_thp */
    uint8_t slack_percent; /* <= HAK_POLICY_MAX_SLACK */
    uint8_t reserved[3];
    uint32_t purity_ppm; /* share of this context's blocks that did as the decision says */
    uint32_t weight;     /* blocks seen, saturating */
    uint64_t size_bytes; /* mean request */
} hak_policy_node;

/* NULL when the bytes are a valid policy, else one line that says what is wrong (static storage). `bytes`
 * is 8-byte aligned. Pure: no allocation, no locks. */
const char *hak_policy_check(const void *bytes, size_t len_bytes);

#endif
