/* kind_logalloc.c: Mozilla's logalloc (memory/replace/logalloc/README of Firefox): "PID TID
 * malloc(32)=0x7f90495120e0", raw or preprocessed ("1 1 malloc(32)=#1"; one whose second column is missing is
 * older). Several processes in one log are kept apart by pid and replay side by side. */
#include "import/kinds.h"

enum { MAX_PROCESSES = 4096 };

typedef struct processes {
    uint64_t pids[MAX_PROCESSES];
    uint32_t count;
    uint32_t last;
} processes;

static bool detect(hak_import *im, const char *head, size_t len_bytes)
{
    const char *name;
    im->late_events = HAK_IMPORT_LATE_THREADS;
    hak_scan line = hak_head_line(head, len_bytes, '#');
    hak_scan_id(&line);
    if (line.bad)
        return false;
    hak_scan_blanks(&line);
    if (hak_scan_at_id(&line))
        hak_scan_id(&line);
    return !line.bad && hak_scan_word(&line, &name) != 0 && hak_scan_is(&line, "(");
}

static uint32_t process_of(processes *all, uint64_t pid)
{
    if (all->count != 0 && all->pids[all->last] == pid)
        return all->last;
    for (all->last = 0; all->last < all->count; all->last++)
        if (all->pids[all->last] == pid)
            return all->last;
    if (all->count == MAX_PROCESSES)
        return UINT32_MAX;
    all->pids[all->count++] = pid;
    return all->last;
}

static const char *parse(hak_import *im, hak_scan *line, void *state)
{
    uint64_t pid = hak_scan_id(line), tid = pid;
    hak_scan_blanks(line);
    if (!line->bad && hak_scan_at_id(line))
        tid = hak_scan_id(line);
    if (line->bad)
        return "no process and thread id at its start";
    uint32_t process = process_of(state, pid);
    if (process == UINT32_MAX)
        return "more than 4096 processes";
    hak_import_thread(im, tid ^ pid << 32);
    return hak_import_call(im, line, process);
}

static int run(hak_import *im)
{
    static const processes none;
    processes all = none;
    int status = hak_import_lines(im, parse, &all);
    im->summary->processes = all.count;
    return status;
}

const hak_import_kind hak_import_logalloc = {
    .format = {"logalloc", "Mozilla logalloc, raw or preprocessed"},
    .limits = "times, call contexts, arenas (all blocks come from one heap)",
    .detect = detect,
    .run = run,
};
