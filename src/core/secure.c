/* secure.c: see secure.h. Called once, from hak_init. */
#include "core/secure.h"

#include <string.h>
#include <sys/auxv.h>

#include "core/base/bits.h"

uintptr_t hak_secret;

void hak_secure_init(void)
{
    if (!HAK_SECURE)
        return;
    const void *random = (const void *)getauxval(AT_RANDOM); /* 16 bytes, or 0 where the kernel gives none */
    uintptr_t words[2] = {(uintptr_t)&hak_secret, (uintptr_t)__builtin_frame_address(0)};
    if (random != NULL)
        memcpy(words, random, sizeof words);
    /* Mixed: libc derives its own secrets from the same bytes. */
    hak_secret = hak_mix64(words[0] ^ hak_mix64(words[1]));
}
