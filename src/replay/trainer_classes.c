/* trainer_classes.c: fitted size classes by dynamic programming. No state, no printing. */
#include "replay/trainer_classes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_WEIGHT 0.001 /* of an allocation that is not live at the peak, against one that is */

typedef struct fit {
    double *weight; /* blocks, by prefix: blocks in cells < i */
    double *bytes;  /* requested bytes (rounded up to cells), by prefix */
    bool backbone[HAK_CELLS];
    uint32_t bound[HAK_CELLS]; /* candidates for class borders: cells that hold blocks, and the backbone */
    uint32_t bounds;
} fit;

static uint64_t cell_bytes(uint32_t cell)
{
    return (uint64_t)(cell + 1) * HAK_CELL_BYTES;
}

/* The allocator's own ladder (size_class.h): steps of 16 to 128, 8 a doubling to 1024, then 4. */
uint32_t hak_standard_ladder(uint32_t sizes[HAK_POLICY_MAX_CLASSES])
{
    uint32_t count = 0;
    for (uint32_t size = 0; size < HAK_POLICY_MAX_CLASS_BYTES;) {
        uint32_t step = 16;
        if (size >= 128)
            step = (1u << (31 - (unsigned)__builtin_clz(size))) / (size < 1024 ? 8 : 4);
        size += step;
        sizes[count++] = size;
    }
    return count;
}

static bool weigh(fit *f, const hak_train_trace *const *traces, size_t count)
{
    f->weight = calloc(HAK_CELLS + 1, sizeof *f->weight);
    f->bytes = calloc(HAK_CELLS + 1, sizeof *f->bytes);
    if (f->weight == NULL || f->bytes == NULL)
        return false;
    for (size_t t = 0; t < count; t++) {
        double sum_bytes = 0;
        for (uint32_t i = 0; i < HAK_CELLS; i++)
            sum_bytes += (double)cell_bytes(i) *
                         ((double)traces[t]->peak[i] + COUNT_WEIGHT * (double)traces[t]->count[i]);
        for (uint32_t i = 0; i < HAK_CELLS && sum_bytes > 0; i++)
            f->weight[i + 1] +=
                ((double)traces[t]->peak[i] + COUNT_WEIGHT * (double)traces[t]->count[i]) / sum_bytes;
    }
    for (uint32_t i = 0; i < HAK_CELLS; i++) {
        f->bytes[i + 1] = f->bytes[i] + f->weight[i + 1] * (double)cell_bytes(i);
        f->weight[i + 1] += f->weight[i];
    }
    return true;
}

/* Bytes lost by blocks of cells (from, to] in a class of to's size; from UINT32_MAX: from the first cell. */
static double loss(const fit *f, uint32_t from, uint32_t to)
{
    uint32_t first = from + 1;
    return (f->weight[to + 1] - f->weight[first]) * (double)cell_bytes(to) -
           (f->bytes[to + 1] - f->bytes[first]);
}

static double ladder_loss(const fit *f, const uint32_t *sizes, uint32_t count)
{
    double sum = 0;
    uint32_t from = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t to = sizes[i] / HAK_CELL_BYTES - 1;
        sum += loss(f, from, to);
        from = to;
    }
    return sum;
}

static void list_bounds(fit *f, const uint32_t *standard, uint32_t standard_count)
{
    for (uint32_t i = 1; i < standard_count; i += 2)
        f->backbone[standard[i] / HAK_CELL_BYTES - 1] = true;
    f->backbone[0] = true;
    f->backbone[HAK_CELLS - 1] = true;
    for (uint32_t i = 0; i < HAK_CELLS; i++)
        if (f->backbone[i] || f->weight[i + 1] > f->weight[i])
            f->bound[f->bounds++] = i;
}

/* best[k][b]: least loss of all cells up to border b with k classes, the last one ending at b. from[k][b]:
 * the border before. A class may not span a backbone border. */
static uint32_t solve(const fit *f, uint32_t max_classes, double *best, uint16_t *from, uint32_t *sizes)
{
    uint32_t n = f->bounds;
    for (size_t i = 0; i < (size_t)(max_classes + 1) * n; i++)
        best[i] = INFINITY;
    for (uint32_t b = 0; b < n; b++) {
        best[n + b] = loss(f, UINT32_MAX, f->bound[b]);
        if (f->backbone[f->bound[b]])
            break;
    }
    for (uint32_t k = 2; k <= max_classes; k++)
        for (uint32_t b = 1; b < n; b++)
            for (uint32_t a = b; a-- > 0;) {
                double sum = best[(size_t)(k - 1) * n + a] + loss(f, f->bound[a], f->bound[b]);
                if (sum < best[(size_t)k * n + b]) {
                    best[(size_t)k * n + b] = sum;
                    from[(size_t)k * n + b] = (uint16_t)a;
                }
                if (f->backbone[f->bound[a]])
                    break;
            }
    uint32_t k = max_classes;
    while (k > 1 && !(best[(size_t)k * n + n - 1] < best[(size_t)(k - 1) * n + n - 1]))
        k--; /* a class that saves nothing is left out */
    uint32_t count = k;
    for (uint32_t b = n - 1; k > 0; b = from[(size_t)k * n + b], k--)
        sizes[k - 1] = (uint32_t)cell_bytes(f->bound[b]);
    return count;
}

uint32_t hak_fit_classes(const hak_train_trace *const *traces, size_t count,
                         uint32_t sizes[HAK_POLICY_MAX_CLASSES], double *gain)
{
    uint32_t standard[HAK_POLICY_MAX_CLASSES];
    uint32_t standard_count = hak_standard_ladder(standard);
    uint32_t fitted = 0;
    double *best = NULL;
    uint16_t *from = NULL;
    fit *f = calloc(1, sizeof *f);
    *gain = 0;
    if (f == NULL || !weigh(f, traces, count) || f->bytes[HAK_CELLS] <= 0)
        goto out;
    list_bounds(f, standard, standard_count);
    size_t entries = (size_t)(standard_count + 1) * f->bounds;
    best = malloc(entries * sizeof *best);
    from = calloc(entries, sizeof *from);
    if (best == NULL || from == NULL)
        goto out;
    fitted = solve(f, standard_count, best, from, sizes);
    *gain = (ladder_loss(f, standard, standard_count) - ladder_loss(f, sizes, fitted)) / f->bytes[HAK_CELLS];
out:
    if (f != NULL) {
        free(f->weight);
        free(f->bytes);
    }
    free(f);
    free(best);
    free(from);
    return fitted;
}
