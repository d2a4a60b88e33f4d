/* code.h: functions of an ELF file, told apart by name, size and what their instructions do: so that a site
 * of a policy is found again in another build of the program. One thread per hak_code. Never runs or maps
 * code. */
#ifndef HAK_REPLAY_CODE_H
#define HAK_REPLAY_CODE_H

#include "core/base/types.h"

#define HAK_CODE_NAME_BYTES 256
#define HAK_CODE_ID_BYTES   20

typedef struct hak_code hak_code;

/* An address by the function it lies in. */
typedef struct hak_code_place {
    char function[HAK_CODE_NAME_BYTES];
    uint64_t into_bytes; /* from the function's start */
    uint64_t size_bytes; /* of the function */
    uint64_t hash; /* of its bytes, less what only says where other functions and data are in this build */
} hak_code_place;

/* NULL with *wrong set (static storage) when the file cannot be read as ELF with symbols. Close it. */
hak_code *hak_code_open(const char *path, const char **wrong);
void hak_code_close(hak_code *code);

/* Its length, 0: none; of a file: none, or it cannot be read as ELF. */
unsigned hak_code_build_id(const hak_code *code, uint8_t id[HAK_CODE_ID_BYTES]);
unsigned hak_code_id_of(const char *path, uint8_t id[HAK_CODE_ID_BYTES]);

/* The function before that return address (relative to the load bias). False: no symbol covers it. */
bool hak_code_describe(const hak_code *code, uint64_t offset, hak_code_place *place);

/* Where that place is in this build. False: no such function, or a changed one, or several. */
bool hak_code_find(const hak_code *code, const hak_code_place *place, uint64_t *offset);

/* "function ID+0xOFFSET INTO SIZE HASH NAME", as a policy's evidence has it; false: it does not fit. */
bool hak_code_print(const hak_code_place *place, const uint8_t *id, unsigned id_bytes, uint64_t offset,
                    char *line, size_t line_bytes);

/* Looks in evidence for what hak_code_print wrote about that address. */
bool hak_code_recall(const char *evidence, const uint8_t *id, unsigned id_bytes, uint64_t offset,
                     hak_code_place *place);

#endif
