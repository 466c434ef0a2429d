/* See holder.h. */
#include "engine/staging/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "formats/json.h"

/* Of a small file in /proc: at most n-1 bytes and a NUL; "" where it cannot be read. */
static void read_proc(const char *path, char *out, size_t n)
{
    qk_error ignored;
    size_t got = 0;
    int fd = qk_open_at(AT_FDCWD, path, O_RDONLY);
    if (fd < 0 || qk_read_at_start(fd, out, n - 1, &got, path, &ignored) != QK_OK) got = 0;
    if (fd >= 0) close(fd);
    out[got] = 0;
}

/* "<boot id> <namespace>", or "". */
static void name_machine(char *out, size_t n)
{
    char boot[40], space[40] = "";
    read_proc("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    boot[strcspn(boot, "\n")] = 0;
    bool known = readlink("/proc/self/ns/pid", space, sizeof space - 1) > 0 && *boot;
    snprintf(out, n, known ? "%s %s" : "", boot, space);
}

/* Field 3 of /proc/PID/stat, and field 22, the start in ticks since the boot. The second field is a
 * name in brackets that may hold anything: see proc_pid_stat(5). 0: there is no such process. */
static char read_process(int64_t pid, int64_t *started)
{
    enum { FIELDS_BETWEEN = 19 };
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    read_proc(path, text, sizeof text);
    const char *at = strrchr(text, ')');
    if (!at || strlen(at) < 3) return 0;
    char state = at[2];
    for (int i = 0; i <= FIELDS_BETWEEN && at; i++) at = strchr(at + 1, ' ');
    *started = at ? strtoll(at, NULL, 10) : -1;
    return state;
}

void qk_holder_self(qk_holder *out)
{
    qk_launch launch;
    qk_error ignored;
    *out = (qk_holder){.pid = getpid(), .since = (double)time(NULL)};
    if (gethostname(out->host, sizeof out->host - 1) != 0) out->host[0] = 0;
    qk_launch_job(out->job, getenv);
    if (qk_launch_find(&launch, getenv, &ignored) == QK_OK) {
        out->rank = launch.rank;
        out->world = launch.world;
    }
    name_machine(out->machine, sizeof out->machine);
    read_process(out->pid, &out->started);
}

void qk_holder_write(qk_buf *out, const qk_holder *h, const char *token)
{
    qk_json_out o = {.compact = true};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_strn(&o, "claim", token, QK_HOLDER_TOKEN);
    qk_json_add_str(&o, "host", h->host);
    qk_json_add_int(&o, "pid", h->pid);
    if (*h->job) qk_json_add_str(&o, "job", h->job);
    if (h->world) qk_json_add_int(&o, "rank", h->rank);
    if (h->world) qk_json_add_int(&o, "world", h->world);
    qk_json_add_num(&o, "since", h->since);
    qk_json_add_str(&o, "machine", h->machine);
    qk_json_add_int(&o, "started", h->started);
    qk_json_end(&o, '}');
    qk_buf_add(out, o.buf.data, o.buf.size);
    if (out->data[out->size - 1] != '\n') qk_buf_add_byte(out, '\n');
    qk_buf_free(&o.buf);
}

static void copy(char *out, size_t n, const qk_json *value)
{
    bool text = value && value->type == QK_JSON_T_STRING;
    snprintf(out, n, "%s", text ? value->text : "");
}

static int64_t integer(const qk_json *value)
{
    return value && value->is_integer ? value->integer : 0;
}

bool qk_holder_read(qk_holder *out, const char *text, size_t n)
{
    enum { BEGIN = 2 * QK_HOLDER_TOKEN };
    qk_arena arena = {0};
    qk_error ignored;
    const qk_json *root = NULL;
    const char *end = n > BEGIN ? memchr(text + BEGIN, '\n', n - BEGIN) : NULL;
    *out = (qk_holder){0};
    if (!end || qk_json_parse(&arena, text + BEGIN, (size_t)(end - text) - BEGIN, "claim", &root,
                              &ignored) != QK_OK)
        root = NULL;
    const qk_json *claim = qk_json_get(root, "claim"), *since = qk_json_get(root, "since");
    bool own = claim && claim->type == QK_JSON_T_STRING && claim->length == QK_HOLDER_TOKEN &&
               !memcmp(claim->text, text, QK_HOLDER_TOKEN);
    if (own) {
        copy(out->host, sizeof out->host, qk_json_get(root, "host"));
        copy(out->job, sizeof out->job, qk_json_get(root, "job"));
        copy(out->machine, sizeof out->machine, qk_json_get(root, "machine"));
        out->pid = integer(qk_json_get(root, "pid"));
        out->rank = integer(qk_json_get(root, "rank"));
        out->world = integer(qk_json_get(root, "world"));
        out->started = integer(qk_json_get(root, "started"));
        out->since = since && since->type == QK_JSON_T_NUMBER ? since->number : 0;
    }
    qk_arena_free(&arena);
    return own && out->pid > 0 && out->pid <= INT_MAX;
}

qk_holder_state qk_holder_look(const qk_holder *h)
{
    char here[sizeof h->machine];
    int64_t started;
    name_machine(here, sizeof here);
    if (!*here || strcmp(here, h->machine) != 0) return QK_HOLDER_ELSEWHERE;
    char state = read_process(h->pid, &started);
    /* /proc may hide the processes of other users (hidepid), but kill does not. */
    bool hidden = !state && (kill((pid_t)h->pid, 0) == 0 || errno != ESRCH);
    if (hidden) return QK_HOLDER_ELSEWHERE;
    if (!state || strchr("ZX", state) || started != h->started) return QK_HOLDER_GONE;
    return strchr("Tt", state) ? QK_HOLDER_STOPPED : QK_HOLDER_WORKS;
}
