/* How much memory is available to this process, and how many CPUs: the least of what the machine,
 * its control groups (v2, v1) and its own limits (ulimit -d, -v; affinity) leave.
 *
 * File pages that the system can drop at any time do not count as taken: MemAvailable of
 * /proc/meminfo knows that, and a group's `file` of memory.stat is added to what it leaves. */
#pragma once

#include <stdint.h>

/* Bytes; 0 when nobody says. root: "" for this machine, or a folder with its own proc and sys, for
 * tests (then without the process's own limits). */
uint64_t qk_available_memory(const char *root);
/* How many more threads the control groups allow; UINT64_MAX when they do not say. */
uint64_t qk_available_threads(const char *root);
/* CPUs that can work for this process at the same time, at least 1: those it may run on
 * (sched_getaffinity(2)), or the quota of a control group, rounded up, where that is less (cpu.max;
 * cpu.cfs_quota_us of version 1). why: "CPU affinity", "CPU quota of its control group", or NULL
 * where they are all of the machine. */
int qk_available_cpus(const char *root, const char **why);
