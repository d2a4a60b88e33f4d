/* output.c: see output.h. */
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int output_begin(output_file *file, const char *path)
{
    struct stat status;
    *file = (output_file){.path = path};
    if (lstat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return open(path, O_WRONLY | O_TRUNC | O_NOCTTY | O_CLOEXEC);
    int n = snprintf(file->temporary, sizeof file->temporary, "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof file->temporary) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = mkostemp(file->temporary, O_CLOEXEC);
    mode_t mask = umask(0);
    umask(mask);
    if (fd >= 0)
        fchmod(fd, 0666 & ~mask); /* as any other program's output */
    return fd;
}

int output_end(output_file *file, bool whole)
{
    if (file->temporary[0] == '\0' || (whole && rename(file->temporary, file->path) == 0))
        return 0;
    int reason = errno;
    unlink(file->temporary);
    errno = reason;
    return whole ? -1 : 0;
}
