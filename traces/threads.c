#include <pthread.h>
#include <stdlib.h>
static void *box[4][500];
static void *make(void *at) { void **row = at; for (int i = 0; i < 500; i++) row[i] = malloc(16 + (size_t)i * 3); return 0; }
int main(void) {
    pthread_t t[4];
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, make, box[i]);
        for (int i = 0; i < 4; i++) { pthread_join(t[i], 0); for (int j = 0; j < 500; j++) free(box[i][j]); }
    }
    return 0;
}
