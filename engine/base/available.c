/* See available.h. */
#include "engine/base/available.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/base/mem.h"

/* What cannot be read here is as if nobody said it: no limit. That costs at most the memory itself.
 */

/* One file of a group; what follows `key` in it, or its only number with key "". */
static bool read_number(const char *path, const char *key, uint64_t *out)
{
    FILE *f = fopen(path, "r");
    char line[256];
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        size_t n = strlen(key);
        char *end;
        if (strncmp(line, key, n) != 0) continue;
        *out = strtoull(line + n, &end, 10);
        found = end != line + n;
    }
    if (f) fclose(f);
    return found;
}

static void lower(uint64_t *available, uint64_t to)
{
    if (to < *available) *available = to;
}

/* Where a version of control groups keeps its numbers. */
typedef struct group_files {
    const char *controller; /* in /proc/self/cgroup: "0::/path" and "7:memory:/path" */
    const char *folder, *limit, *used, *cached;
} group_files;

static const group_files versions[] = {
    {"0::", "/sys/fs/cgroup", "memory.max", "memory.current", "file "},
    {":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
     "total_cache "},
};

static bool group_number(const char *folder, const char *file, const char *key, uint64_t *out)
{
    char *path = qk_strf("%s/%s", folder, file);
    bool found = read_number(path, key, out);
    free(path);
    return found;
}

/* The group of this process and its parents. Inside a container the path may be the host's, and
 * only the top is there: it is read in any case. */
static void read_groups(const char *root, const group_files *v, const char *line,
                        uint64_t *available)
{
    const char *at = strstr(line, v->controller);
    if (!at || (v->controller[0] == '0' && at != line)) return;
    char *folder = qk_strf("%s%s%s", root, v->folder, at + strlen(v->controller));
    size_t top = strlen(root) + strlen(v->folder);
    folder[strcspn(folder, "\n")] = 0;
    for (;;) {
        uint64_t limit, used, cached = 0;
        /* "max" is no number and no limit. */
        if (group_number(folder, v->limit, "", &limit) &&
            group_number(folder, v->used, "", &used)) {
            if (v->cached) group_number(folder, "memory.stat", v->cached, &cached);
            uint64_t taken = used > cached ? used - cached : 0;
            lower(available, limit > taken ? limit - taken : 0);
        }
        if (strlen(folder) <= top) break;
        *strrchr(folder, '/') = 0;
    }
    free(folder);
}

static void read_all_groups(const char *root, const group_files *all, uint64_t *available)
{
    char *path = qk_strf("%s/proc/self/cgroup", root), line[4096];
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        for (int v = 0; v < 2; v++) read_groups(root, &all[v], line, available);
    if (f) fclose(f);
    free(path);
}

/* ulimit -d counts private writable memory, -v everything. */
static void read_limits(uint64_t *available)
{
    static const struct {
        int limit, field; /* of /proc/self/statm: pages of everything .. pages of data and stack */
    } all[] = {{RLIMIT_AS, 0}, {RLIMIT_DATA, 5}};
    unsigned long long pages[7] = {0};
    FILE *f = fopen("/proc/self/statm", "r");
    for (int i = 0; f && i < 7; i++)
        if (fscanf(f, "%llu", &pages[i]) != 1) break;
    if (f) fclose(f);
    for (int i = 0; i < 2; i++) {
        struct rlimit r;
        uint64_t taken = pages[all[i].field] * (uint64_t)sysconf(_SC_PAGESIZE);
        if (getrlimit((__rlimit_resource_t)all[i].limit, &r) != 0 || r.rlim_cur == RLIM_INFINITY)
            continue;
        lower(available, r.rlim_cur > taken ? r.rlim_cur - taken : 0);
    }
}

uint64_t qk_available_memory(const char *root)
{
    uint64_t kilobytes, available = UINT64_MAX;
    char *meminfo = qk_strf("%s/proc/meminfo", root);
    if (read_number(meminfo, "MemAvailable:", &kilobytes)) available = kilobytes << 10;
    read_all_groups(root, versions, &available);
    if (!*root) read_limits(&available);
    free(meminfo);
    if (!available) available = 1; /* nothing left is not the same as unknown */
    return available == UINT64_MAX ? 0 : available;
}

uint64_t qk_available_threads(const char *root)
{
    static const group_files all[] = {
        {"0::", "/sys/fs/cgroup", "pids.max", "pids.current", NULL},
        {":pids:", "/sys/fs/cgroup/pids", "pids.max", "pids.current", NULL},
    };
    uint64_t available = UINT64_MAX;
    read_all_groups(root, all, &available);
    return available;
}
