/* See available.h. */
#include "engine/base/available.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/base/mem.h"

/* What cannot be read here is as if nobody said it: no limit. That costs at most the memory itself.
 */

/* One file of a group; the number after `key` in it, or the first one with key "", and the one that
 * may follow in the same line. */
static bool read_numbers(const char *path, const char *key, uint64_t *out, uint64_t *next)
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
        if (found && next) *next = strtoull(end, NULL, 10);
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
    /* In /proc/self/cgroup: "memory" of "7:memory,hugetlb:/path"; "" of version 2's "0::/path". */
    const char *controller;
    const char *folder, *limit, *used, *cached; /* used: NULL when it is in the line of the limit */
} group_files;

static bool group_numbers(const char *folder, const char *file, const char *key, uint64_t *out,
                          uint64_t *next)
{
    char *path = qk_strf("%s/%s", folder, file);
    bool found = read_numbers(path, key, out, next);
    free(path);
    return found;
}

/* What one group leaves. "max" is no number and no limit. */
typedef void read_group(const char *folder, const group_files *v, uint64_t *available);

static void read_rest(const char *folder, const group_files *v, uint64_t *available)
{
    uint64_t limit, used, cached = 0;
    if (!group_numbers(folder, v->limit, "", &limit, NULL) ||
        !group_numbers(folder, v->used, "", &used, NULL))
        return;
    if (v->cached) group_numbers(folder, "memory.stat", v->cached, &cached, NULL);
    uint64_t taken = used > cached ? used - cached : 0;
    lower(available, limit > taken ? limit - taken : 0);
}

/* Microseconds of CPU time in each period of so many. */
static void read_quota(const char *folder, const group_files *v, uint64_t *available)
{
    uint64_t quota, period = 0;
    if (!group_numbers(folder, v->limit, "", &quota, v->used ? NULL : &period)) return;
    if (v->used) group_numbers(folder, v->used, "", &period, NULL);
    if (!period || quota > INT64_MAX) return; /* -1: none */
    lower(available, quota <= period ? 1 : (quota - 1) / period + 1);
}

/* "a" is one of "b,a,c". */
static bool has_word(const char *list, size_t length, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list, *end = list + length; at <= end; at++) {
        size_t here = strcspn(at, ",:");
        if (here == n && !strncmp(at, word, n)) return true;
        at += here;
    }
    return false;
}

/* The group of this process and its parents. Inside a container the path may be the host's, and
 * only the top is there: it is read in any case. */
static void read_groups(const char *root, const group_files *v, const char *line, read_group *read,
                        uint64_t *available)
{
    const char *list = strchr(line, ':'), *at = list ? strchr(list + 1, ':') : NULL;
    if (!at || !has_word(list + 1, (size_t)(at - list - 1), v->controller)) return;
    char *folder = qk_strf("%s%s%s", root, v->folder, at + 1);
    size_t top = strlen(root) + strlen(v->folder);
    folder[strcspn(folder, "\n")] = 0;
    for (;;) {
        read(folder, v, available);
        if (strlen(folder) <= top) break;
        *strrchr(folder, '/') = 0;
    }
    free(folder);
}

/* all: of both versions. */
static void read_all_groups(const char *root, const group_files *all, read_group *read,
                            uint64_t *available)
{
    char *path = qk_strf("%s/proc/self/cgroup", root), line[4096];
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        for (int v = 0; v < 2; v++) read_groups(root, &all[v], line, read, available);
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
    static const group_files all[] = {
        {"", "/sys/fs/cgroup", "memory.max", "memory.current", "file "},
        {"memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
         "total_cache "},
    };
    uint64_t kilobytes, available = UINT64_MAX;
    char *meminfo = qk_strf("%s/proc/meminfo", root);
    if (read_numbers(meminfo, "MemAvailable:", &kilobytes, NULL)) available = kilobytes << 10;
    read_all_groups(root, all, read_rest, &available);
    if (!*root) read_limits(&available);
    free(meminfo);
    if (!available) available = 1; /* nothing left is not the same as unknown */
    return available == UINT64_MAX ? 0 : available;
}

uint64_t qk_available_threads(const char *root)
{
    static const group_files all[] = {
        {"", "/sys/fs/cgroup", "pids.max", "pids.current", NULL},
        {"pids", "/sys/fs/cgroup/pids", "pids.max", "pids.current", NULL},
    };
    uint64_t available = UINT64_MAX;
    read_all_groups(root, all, read_rest, &available);
    return available;
}

/* Those that this process may run on; the mask has to be as large as the kernel's. */
static int allowed_cpus(void)
{
    enum { MAX_CPUS = 1 << 20 };
    int count = 0;
    for (int n = 1024; !count && n <= MAX_CPUS; n *= 2) {
        cpu_set_t *mask = CPU_ALLOC((size_t)n);
        size_t bytes = CPU_ALLOC_SIZE((size_t)n);
        if (mask && sched_getaffinity(0, bytes, mask) == 0) count = CPU_COUNT_S(bytes, mask);
        CPU_FREE(mask);
    }
    return count;
}

int qk_available_cpus(const char *root, const char **why)
{
    static const group_files all[] = {
        {"", "/sys/fs/cgroup", "cpu.max", NULL, NULL},
        {"cpu", "/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us", NULL},
    };
    long machine = sysconf(_SC_NPROCESSORS_ONLN);
    int allowed = allowed_cpus();
    if (!allowed) allowed = machine > 0 ? (int)machine : 1;
    *why = allowed < machine ? "CPU affinity" : NULL;
    uint64_t quota = UINT64_MAX;
    read_all_groups(root, all, read_quota, &quota);
    if (quota >= (uint64_t)allowed) return allowed;
    *why = "CPU quota of its control group";
    return (int)quota;
}
