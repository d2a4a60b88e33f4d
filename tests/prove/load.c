/* load.c: clients of a server for the proof: load PROTOCOL SOCKET PID TASK REQUESTS [CLIENTS]
 *
 * PROTOCOL is redis, memcached or mariadb; TASK a letter a to f. Each client is a thread with a connection,
 * keys and a random stream of its own, so that its answers do not depend on how the clients interleave; it
 * sends a batch, waits for all of its answers and sends the next. Meanwhile the main thread looks at the
 * server's memory. Prints "wall_s cpu_s peak_kib mean_kib end_kib p50_us p99_us p999_us digest"; times are of
 * whole batches, processor time and memory are the server's while under load. */
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 16
#define MAX_BATCH   16
#define VALUE_MAX   (64 * 1024)
#define SAMPLE_NS   10000000

typedef enum op { SET, GET, DEL, APPEND, HSET, HDEL, LPUSH, LTRIM, ZADD, SETEX, RANGE, OPS } op;

/* What a task asks for: shares of the operations, sizes of values, how many keys, and how the sizes move. */
typedef struct task {
    uint8_t shares[OPS];
    unsigned low, high; /* bytes of an ordinary value */
    unsigned large;     /* one value in so many is up to VALUE_MAX; 0: none */
    unsigned keys;      /* a client's */
    unsigned drift;     /* the task's sixths differ: sizes times 1 … drift */
} task;

static const task tasks[] = {
    /* set get del app hset hdel lpush ltrim zadd setex range */
    {{40, 35, 20, 0, 0, 0, 0, 0, 0, 5, 0}, 16, 400, 0, 9000, 1},     /* a: a cache of small values */
    {{20, 15, 8, 15, 18, 6, 10, 3, 3, 0, 2}, 30, 120, 0, 4000, 3},   /* b: structures, growing values */
    {{30, 25, 20, 0, 10, 5, 5, 1, 2, 2, 0}, 100, 2000, 60, 2500, 2}, /* c: pages, some large */
    {{34, 16, 24, 6, 6, 3, 4, 2, 2, 2, 1}, 16, 900, 200, 6000, 4},   /* d: everything, sizes that grow */
    {{15, 20, 8, 4, 25, 12, 8, 3, 3, 0, 2}, 20, 300, 0, 5000, 1},    /* e: mostly hashes and lists */
    {{45, 25, 25, 2, 0, 0, 0, 0, 0, 3, 0}, 40, 1200, 100, 4000, 2},  /* f: a cache of mixed values */
};

typedef struct client {
    pthread_t thread;
    int fd, index;
    uint64_t random, digest;
    uint64_t requests, batches;
    float *times_us; /* one a batch; owned */
    char *in;        /* VALUE_MAX * 2, owned */
    size_t in_at, in_end;
    char *out; /* a batch, owned */
    size_t out_bytes;
} client;

static const task *chosen;
static enum { REDIS, MEMCACHED, MARIADB } protocol;
static char filler[VALUE_MAX];
static atomic_int running;

static void fail(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(2);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint32_t draw(client *c, uint32_t below)
{
    c->random = c->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((c->random >> 33) % below);
}

/* ---- answers ---- */

static void fill(client *c)
{
    if (c->in_at == c->in_end)
        c->in_at = c->in_end = 0;
    if (c->in_end == VALUE_MAX * 2) {
        memmove(c->in, c->in + c->in_at, c->in_end - c->in_at);
        c->in_end -= c->in_at;
        c->in_at = 0;
    }
    ssize_t got = read(c->fd, c->in + c->in_end, VALUE_MAX * 2 - c->in_end);
    if (got <= 0)
        fail("the server ended");
    c->in_end += (size_t)got;
}

static void mix(client *c, const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        c->digest = (c->digest ^ (unsigned char)bytes[i]) * 1099511628211u;
}

/* Into the digest go the first bytes of what is passed over. */
static void pass_over(client *c, size_t bytes)
{
    size_t mixed = 0;
    while (bytes > 0) {
        if (c->in_at == c->in_end)
            fill(c);
        size_t here = c->in_end - c->in_at < bytes ? c->in_end - c->in_at : bytes;
        for (; mixed < 12 && mixed < here; mixed++)
            mix(c, c->in + c->in_at + mixed, 1);
        mixed = 12;
        c->in_at += here;
        bytes -= here;
    }
}

static size_t line(client *c, char *text, size_t room)
{
    size_t length = 0;
    for (;;) {
        if (c->in_at == c->in_end)
            fill(c);
        char byte = c->in[c->in_at++];
        if (byte == '\n')
            break;
        if (byte != '\r' && length + 1 < room)
            text[length++] = byte;
    }
    text[length] = 0;
    return length;
}

static void answer_redis(client *c)
{
    char text[256];
    for (long left = 1; left > 0; left--) {
        mix(c, text, line(c, text, sizeof text));
        long count = strtol(text + 1, NULL, 10);
        if (text[0] == '-')
            fail(text);
        if (text[0] == '$' && count >= 0)
            pass_over(c, (size_t)count + 2);
        else if (text[0] == '*' && count > 0)
            left += count;
    }
}

static void answer_memcached(client *c)
{
    char text[256];
    for (;;) {
        size_t length = line(c, text, sizeof text);
        mix(c, text, length);
        if (strncmp(text, "VALUE ", 6) != 0)
            break;
        char *at = strrchr(text, ' ');
        pass_over(c, strtoul(at, NULL, 10) + 2);
    }
    if (strstr(text, "ERROR") != NULL && strstr(text, "SERVER_ERROR out of memory") == NULL)
        fail(text);
}

/* A packet of MariaDB's protocol: its length, its first byte; it is passed over. */
static uint32_t packet(client *c, unsigned char *first)
{
    while (c->in_end - c->in_at < 5)
        fill(c);
    unsigned char *at = (unsigned char *)c->in + c->in_at;
    uint32_t bytes = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
    *first = at[4];
    c->in_at += 4;
    if (*first == 0xff) {
        while (c->in_end - c->in_at < bytes)
            fill(c);
        c->in[c->in_at + bytes] = 0;
        fail(c->in + c->in_at + 3);
    }
    if (*first == 0) /* "done" also counts the connection's warnings, which are nobody's business */
        c->in_at += bytes;
    else
        pass_over(c, bytes);
    return bytes;
}

static void answer_mariadb(client *c)
{
    unsigned char first;
    packet(c, &first);
    if (first == 0)
        return;
    for (int ends = 0; ends < 2;) { /* columns, then rows, each ended by a short packet */
        uint32_t bytes = packet(c, &first);
        ends += first == 0xfe && bytes < 9;
    }
}

static void answer(client *c)
{
    if (protocol == REDIS)
        answer_redis(c);
    else if (protocol == MEMCACHED)
        answer_memcached(c);
    else
        answer_mariadb(c);
}

/* ---- requests ---- */

static void put(client *c, const void *bytes, size_t count)
{
    memcpy(c->out + c->out_bytes, bytes, count);
    c->out_bytes += count;
}

static void put_words(client *c, int count, const char *const *words, const char *value, size_t bytes)
{
    char text[64];
    put(c, text, (size_t)snprintf(text, sizeof text, "*%d\r\n", count + (value != NULL)));
    for (int i = 0; i < count; i++)
        put(c, text, (size_t)snprintf(text, sizeof text, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]));
    if (value != NULL) {
        put(c, text, (size_t)snprintf(text, sizeof text, "$%zu\r\n", bytes));
        put(c, value, bytes);
        put(c, "\r\n", 2);
    }
}

static void ask_redis(client *c, op kind, unsigned key, const char *value, size_t bytes)
{
    char whole[32], group[32], field[32];
    snprintf(whole, sizeof whole, "k%d:%u", c->index, key);
    snprintf(field, sizeof field, "f%u", key);
    snprintf(group, sizeof group, "%c%d:%u", "kkkahhllzkz"[kind], c -> index,
             kind == APPEND ? key : key % 97);
    if (kind == SET)
        put_words(c, 2, (const char *[]){"SET", whole}, value, bytes);
    else if (kind == GET)
        put_words(c, 2, (const char *[]){"GET", whole}, NULL, 0);
    else if (kind == DEL)
        put_words(c, 3, (const char *[]){"DEL", whole, "a"}, NULL, 0);
    else if (kind == APPEND)
        put_words(c, 2, (const char *[]){draw(c, 12) == 0 ? "SET" : "APPEND", group}, value, bytes / 8 + 1);
    else if (kind == HSET)
        put_words(c, 3, (const char *[]){"HSET", group, field}, value, bytes);
    else if (kind == HDEL)
        put_words(c, 3, (const char *[]){"HDEL", group, field}, NULL, 0);
    else if (kind == LPUSH)
        put_words(c, 2, (const char *[]){"LPUSH", group}, value, bytes);
    else if (kind == LTRIM)
        put_words(c, 4, (const char *[]){"LTRIM", group, "0", "20"}, NULL, 0);
    else if (kind == ZADD)
        put_words(c, 4, (const char *[]){"ZADD", group, field + 1, field}, NULL, 0);
    else if (kind == SETEX)
        put_words(c, 3, (const char *[]){"SETEX", whole, "1000"}, value, bytes);
    else
        put_words(c, 4, (const char *[]){"ZRANGE", group, "0", "30"}, NULL, 0);
}

static void ask_memcached(client *c, op kind, unsigned key, const char *value, size_t bytes)
{
    char text[96];
    const char *verb = kind == APPEND ? "append" : "set";
    if (kind == GET || kind == RANGE || kind == HDEL || kind == LTRIM)
        put(c, text, (size_t)snprintf(text, sizeof text, "get k%d:%u\r\n", c->index, key));
    else if (kind == DEL)
        put(c, text, (size_t)snprintf(text, sizeof text, "delete k%d:%u\r\n", c->index, key));
    else {
        bytes = kind == APPEND ? bytes / 8 + 1 : bytes;
        put(c, text,
            (size_t)snprintf(text, sizeof text, "%s k%d:%u 0 0 %zu\r\n", verb, c->index, key, bytes));
        put(c, value, bytes);
        put(c, "\r\n", 2);
    }
}

static void put_query(client *c, const char *text, size_t bytes)
{
    unsigned char head[5] = {(unsigned char)(bytes + 1), (unsigned char)((bytes + 1) >> 8),
                             (unsigned char)((bytes + 1) >> 16), 0, 3};
    put(c, head, sizeof head);
    put(c, text, bytes);
}

static void ask_mariadb(client *c, op kind, unsigned key, const char *value, size_t bytes)
{
    static _Thread_local char text[VALUE_MAX + 512];
    int t = c->index, room = (int)sizeof text, length;
    int width = (int)(bytes < 3000 ? bytes : 3000);
    if (kind == SET || kind == SETEX || kind == LPUSH)
        length = snprintf(text, (size_t)room, "replace into t%d(id, kind, body) values(%u, %u, '%.*s')", t,
                          key, key % 31, width, value);
    else if (kind == GET)
        length = snprintf(text, (size_t)room, "select id, kind, body from t%d where id = %u", t, key);
    else if (kind == DEL || kind == HDEL)
        length = snprintf(text, (size_t)room, "delete from t%d where id = %u", t, key);
    else if (kind == APPEND)
        length = snprintf(text, (size_t)room,
                          "update t%d set body = left(concat(body, '%.*s'), 3000) where id = %u", t,
                          width / 8 + 1, value, key);
    else if (kind == HSET)
        length = snprintf(
            text, (size_t)room,
            "insert into t%d(id, kind, body) values(%u, %u, '%.*s') on duplicate key update kind = kind + 1",
            t, key, key % 31, width, value);
    else if (kind == LTRIM)
        length = snprintf(text, (size_t)room,
                          "select kind, count(*), max(length(body)) from t%d where id < %u group by kind "
                          "order by 2 desc, 1 limit 5",
                          t, key / 4);
    else if (kind == ZADD)
        length = snprintf(text, (size_t)room,
                          "select upper(substr(body, 1, 60)), replace(body, 'b', '%u') from t%d where id "
                          "between %u and %u order by body, id limit 3",
                          key, t, key, key + 40);
    else
        length = snprintf(text, (size_t)room,
                          "select a.id, b.kind from t%d a join t%d b on b.id = a.id + 1 where a.id between "
                          "%u and %u order by a.id",
                          t, t, key, key + 20);
    put_query(c, text, (size_t)length);
}

static void ask(client *c, uint64_t done, uint64_t whole)
{
    unsigned all = 0, kind = 0;
    for (int i = 0; i < OPS; i++)
        all += chosen->shares[i];
    for (unsigned at = draw(c, all); at >= chosen->shares[kind]; kind++)
        at -= chosen->shares[kind];
    unsigned key = draw(c, chosen->keys);
    size_t bytes = chosen->low + draw(c, chosen->high - chosen->low);
    bytes *= 1 + done * 6 / (whole + 1) * 5 % 6 * (chosen->drift - 1) / 5;
    if (chosen->large != 0 && draw(c, chosen->large) == 0)
        bytes = 1000 + draw(c, VALUE_MAX - 2000);
    const char *value = filler + draw(c, 64);
    if (protocol == REDIS)
        ask_redis(c, (op)kind, key, value, bytes);
    else if (protocol == MEMCACHED)
        ask_memcached(c, (op)kind, key, value, bytes);
    else
        ask_mariadb(c, (op)kind, key, value, bytes);
}

/* ---- clients ---- */

static void send_out(client *c)
{
    for (size_t sent = 0; sent < c->out_bytes;) {
        ssize_t n = write(c->fd, c->out + sent, c->out_bytes - sent);
        if (n <= 0)
            fail("the server does not read");
        sent += (size_t)n;
    }
    c->out_bytes = 0;
}

static void query(client *c, const char *text)
{
    put_query(c, text, strlen(text));
    send_out(c);
    answer_mariadb(c);
}

/* MariaDB greets; root needs no password here. Each client has a table of its own. */
static void enter(client *c)
{
    unsigned char first;
    packet(c, &first);
    /* 4.1 protocol, long password, secure connection, transactions, plug-in authentication */
    static const unsigned char reply[] = {
        0x29, 0, 0, 1, 0x01 | 0x00, 0xa2, 0x08, 0x00, 0, 0, 0, 1, 45, 0,   0,   0,   0,   0, 0, 0, 0, 0, 0,
        0,    0, 0, 0, 0,           0,    0,    0,    0, 0, 0, 0, 0,  'r', 'o', 'o', 't', 0, 0, 0, 0, 0};
    put(c, reply, 4 + 0x29);
    send_out(c);
    packet(c, &first);
    char text[200];
    query(c, "create database if not exists load_test");
    query(c, "use load_test");
    snprintf(text, sizeof text,
             "create or replace table t%d(id int primary key, kind int, body varchar(3100), key(kind)) "
             "engine=innodb",
             c->index);
    query(c, text);
    c->digest = 14695981039346656037u;
}

static void *drive(void *arg)
{
    client *c = arg;
    int batch = protocol == MARIADB ? 1 : MAX_BATCH;
    for (uint64_t done = 0; done < c->requests; done += (uint64_t)batch) {
        for (int i = 0; i < batch; i++)
            ask(c, done, c->requests);
        double begun = now_s();
        send_out(c);
        for (int i = 0; i < batch; i++)
            answer(c);
        c->times_us[c->batches++] = (float)((now_s() - begun) * 1e6);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void prepare(client *c, int index, const char *path, uint64_t requests, char letter)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
        fail("cannot connect");
    c->index = index;
    c->random = (uint64_t)letter * 1000 + (uint64_t)index;
    c->digest = 14695981039346656037u;
    c->requests = requests;
    c->times_us = calloc(requests + 1, sizeof *c->times_us);
    c->in = malloc(VALUE_MAX * 2 + 1);
    c->out = malloc(MAX_BATCH * (size_t)(VALUE_MAX * 5 + 512));
    if (c->times_us == NULL || c->in == NULL || c->out == NULL)
        fail("no memory");
    if (protocol == MARIADB)
        enter(c);
}

/* ---- the server, from outside ---- */

static long status_kib(int pid, const char *name)
{
    char path[64], text[256];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(text, sizeof text, f) != NULL)
        if (strncmp(text, name, strlen(name)) == 0)
            kib = strtol(text + strlen(name), NULL, 10);
    if (f != NULL)
        fclose(f);
    return kib;
}

/* Of all threads there are, to the nanosecond; none ends under load. */
static double cpu_s(int pid)
{
    char path[400];
    double ns = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks_of = opendir(path);
    for (struct dirent *e; tasks_of != NULL && (e = readdir(tasks_of)) != NULL;) {
        unsigned long long ran = 0;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, e->d_name);
        FILE *f = fopen(path, "r");
        if (f != NULL) {
            ns += fscanf(f, "%llu", &ran) == 1 ? (double)ran : 0;
            fclose(f);
        }
    }
    if (tasks_of != NULL)
        closedir(tasks_of);
    return ns / 1e9;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static client clients[MAX_CLIENTS];
    if (argc < 6 || argv[4][0] < 'a' || argv[4][0] > 'f')
        fail("load PROTOCOL SOCKET PID a…f REQUESTS [CLIENTS]");
    protocol = strcmp(argv[1], "redis") == 0       ? REDIS
               : strcmp(argv[1], "memcached") == 0 ? MEMCACHED
                                                   : MARIADB;
    chosen = &tasks[argv[4][0] - 'a'];
    int pid = atoi(argv[3]), count = argc > 6 ? atoi(argv[6]) : 4;
    uint64_t requests = strtoull(argv[5], NULL, 10) / (uint64_t)count;
    for (size_t i = 0; i < sizeof filler; i++)
        filler[i] = (char)('a' + i % 53 % 26);
    for (int i = 0; i < count; i++)
        prepare(&clients[i], i, argv[2], requests, argv[4][0]);
    double cpu_before = cpu_s(pid), begun = now_s(), sum = 0, samples = 0;
    atomic_store(&running, count);
    for (int i = 0; i < count; i++)
        if (pthread_create(&clients[i].thread, NULL, drive, &clients[i]) != 0)
            fail("no thread");
    while (atomic_load(&running) > 0) {
        sum += (double)status_kib(pid, "VmRSS:");
        samples++;
        nanosleep(&(struct timespec){0, SAMPLE_NS}, NULL);
    }
    for (int i = 0; i < count; i++)
        pthread_join(clients[i].thread, NULL);
    double wall = now_s() - begun, cpu = cpu_s(pid) - cpu_before;
    uint64_t batches = 0, digest = 0, at = 0;
    for (int i = 0; i < count; i++) {
        batches += clients[i].batches;
        digest ^= clients[i].digest * (uint64_t)(2 * i + 1);
    }
    float *all = calloc(batches + 1, sizeof *all);
    for (int i = 0; i < count && all != NULL; at += clients[i++].batches)
        memcpy(all + at, clients[i].times_us, clients[i].batches * sizeof *all);
    if (all == NULL || batches == 0)
        fail("nothing was asked");
    qsort(all, batches, sizeof *all, by_size);
    printf("%.6f %.6f %ld %.0f %ld %.1f %.1f %.1f %016llx\n", wall, cpu, status_kib(pid, "VmHWM:"),
           sum / samples, status_kib(pid, "VmRSS:"), all[batches / 2], all[batches * 99 / 100],
           all[batches * 999 / 1000], (unsigned long long)digest);
    return 0;
}
