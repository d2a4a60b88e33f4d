/* train_curve.h: how a training went, generation by generation, as CSV or as one offline HTML file. One
 * thread. */
#ifndef HAK_CLI_TRAIN_CURVE_H
#define HAK_CLI_TRAIN_CURVE_H

#include "replay/trainer.h"

#define HAK_CURVE_MAX_POINTS 512

typedef struct hak_train_curve {
    hak_train_progress points[HAK_CURVE_MAX_POINTS]; /* the last of each generation and phase */
    unsigned count;
} hak_train_curve;

void hak_train_curve_add(hak_train_curve *curve, const hak_train_progress *progress);

/* HTML where the name ends in .html, else CSV. 0, or an errno. */
int hak_train_curve_write(const hak_train_curve *curve, const hak_train_report *report, const char *path);

#endif
