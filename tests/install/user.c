/* user.c: a program linked with libhakmem: its blocks come from it, and the interface answers. */
#include <hakmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *volatile text = malloc(100);
    if (!text)
        return 1;
    strcpy(text, "hakmem");
    printf("%s %s %s\n", text, hakmem_version(), hakmem_mode());
    for (unsigned i = 0; i < hakmem_counter_count(); i++)
        if (!hakmem_counter_name(i))
            return 2;
    free(text);
    return hakmem_counter_count() == 0 || hakmem_counter_name(hakmem_counter_count()) || hakmem_check() != 0;
}
