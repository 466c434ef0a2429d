#!/usr/bin/env python3
"""Runs, downloads and pushes with ThreadSanitizer (make TSAN=1): no data race, and the same outcome as without it.

The suites are those of this folder, in a copy of the tests whose qkengine is the instrumented one. --full: all tests of theirs.
"""
import os
import shutil
import subprocess
import sys

import common
from common import ROOT, main

BINARY = ROOT / "build/cpu-tsan/qkengine"
FULL = "--full" in sys.argv
SUITES = {
    "many_processes.py": ["shards_in_one_folder", "claims_are_for_the_unit_at_work"],
    "hub_pull.py": ["test_run_from_hub", "test_sharded_model", "test_both_at_once", "test_without_links", "test_pages"],
    "hub_rot.py": ["test_each_kind_of_file", "test_run", "test_blob_of_another_commit"],
    "hub_pull_faults.py": ["test_contents_that_are_wrong", "test_troubles_are_counted_apart"],
    "hub_stream.py": ["test_order", "test_one_ahead", "test_same_bytes", "test_trouble_in_the_middle", "test_signal_during_a_fetch"],
    "hub_push.py": ["test_run_pushes_at_its_end", "test_multipart", "test_rows_are_merged_one_after_the_other", "test_two_pushers_at_once_lose_no_rows"],
    "hub_push_faults.py": ["test_troubles_are_counted_apart", "test_file_changes_while_it_is_sent"],
}
RACES = """
#include <pthread.h>
#include "engine/base/team.h"
static int x, y;
static pthread_barrier_t both;
static void sum(void *p, size_t begin, size_t end, int member)
{
    pthread_barrier_wait(&both);
    for (int i = 0; i < 1000; i++) y++;
}
static void *add(void *p) { for (int i = 0; i < 1000; i++) x++; return p; }
int main(void)
{
    pthread_t a, b;
    pthread_create(&a, 0, add, 0), pthread_create(&b, 0, add, 0);
    pthread_join(a, 0), pthread_join(b, 0);
    pthread_barrier_init(&both, 0, 2);
    qk_loop(2, 2, sum, 0);
    return x == y;
}
"""


def environment(folder, **more):
    options = f"ignore_noninstrumented_modules=1 history_size=5 exitcode=66 log_path={folder}/race"
    return dict(os.environ, TSAN_OPTIONS=options, OMP_NUM_THREADS="4", **more)


def races(folder):
    return [line for log in folder.glob("race.*") for line in log.read_text().splitlines() if line.startswith("SUMMARY")]


def instrumented_tree(folder):
    tree = folder / "tree"
    shutil.copytree(ROOT / "tests", tree / "tests", symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "corpus"))
    (tree / "build").symlink_to(ROOT / "build")
    (tree / "qkengine").symlink_to(BINARY)
    return tree


def the_sanitizer_sees_races(folder):
    """Of plain threads and of loops that a team shares: otherwise the rest of this suite says nothing."""
    (folder / "races.c").write_text(RACES)
    libraries = subprocess.run(["make", "-s", "print-libs"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(["clang", "-O1", "-g", "-fsanitize=thread", f"-I{ROOT}", "races.c", BINARY.parent / "libqkengine.a", *libraries, "-o", "races"], cwd=folder, check=True)
    done = subprocess.run([folder / "races"], env=environment(folder), capture_output=True)
    assert done.returncode == 66 and len(races(folder)) >= 2, (done, races(folder))


def loops(folder):
    """The C tests of the team, a child of a process with threads among them."""
    options = environment(folder)["TSAN_OPTIONS"] + " die_after_fork=0"
    done = subprocess.run([BINARY.parent / "tests/test_team"], cwd=ROOT, env=environment(folder) | {"TSAN_OPTIONS": options}, capture_output=True, text=True)
    assert done.returncode == 0 and not races(folder), (done.stdout, done.stderr, races(folder))


def runs(folder):
    """On four threads, with all layers in memory and with two; the same bytes as the usual build's."""
    common.make_workspace(folder)
    assert common.run(folder, "output.data_root=usual").returncode == 0
    for name, *more in (("all",), ("two", "inference.layers_in_memory=2"), ("small", "inference.batch_size=1", "inference.threads=3")):
        settings = [a for s in [f"output.data_root={name}", *more] for a in ("--set", s)]
        done = subprocess.run([BINARY, "run", "config.yaml", "--quiet", *settings], cwd=folder, env=environment(folder), capture_output=True, text=True)
        assert done.returncode == 0 and not races(folder), (done.returncode, done.stderr, races(folder))
        files = {p: d for p, d in common.digest(folder / name / "final").items() if p.endswith("examples.parquet")}
        assert files and files == {p: d for p, d in common.digest(folder / "usual/final").items() if p.endswith("examples.parquet")}


def suite(name):
    def test(folder):
        tree = instrumented_tree(folder)
        done = subprocess.run([sys.executable, tree / "tests/interop" / name, *([] if FULL else SUITES[name])], cwd=tree,
                              env=environment(folder, QKENGINE_CACHE=str(folder / "cache")), capture_output=True, text=True)
        assert not races(folder), races(folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return next(line for line in done.stdout.splitlines() if " passed, " in line).split(": ")[-1] + ", no race"
    test.__name__ = name.removesuffix(".py")
    return test


if __name__ == "__main__":
    if not shutil.which("clang"):
        print("SKIPPED: no clang")
        print("threads: 0 passed, 0 failed, 1 skipped")
        sys.exit(0)
    subprocess.run(["make", "-s", "-j2", "TSAN=1", "build/cpu-tsan/qkengine", "build/cpu-tsan/tests/test_team"], cwd=ROOT, check=True)
    sys.exit(main("threads", [the_sanitizer_sees_races, loops, runs, *map(suite, SUITES)]))
