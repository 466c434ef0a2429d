#!/usr/bin/env python3
"""The final folder has the same bytes for any batch size, thread count, crash history, and twice.

usage: same_bytes.py [SEED] [TEST...]
"""
import json
import random
import shutil
import signal
import subprocess
import sys
import time

from common import ROOT, digest, engine, main, make_workspace, number_asked, run, seal, write_jsonl

SEED = number_asked(1)
LAYOUTS = {"branch": [], "prefix": ["capture.per_head_masks=true"]}


def long_dataset(folder, n=150):
    """Enough short texts for several work units."""
    rng = random.Random(5)
    words = (ROOT / "tests/demo/texts.jsonl").read_text(encoding="utf-8").split()
    rows = [{"id": f"doc-{i % (n - 7)}", "text": " ".join(rng.choices(words, k=rng.randint(0, 60)))} for i in range(n)]
    write_jsonl(folder / "data.jsonl", rows)
    return ["dataset.path=data.jsonl", "output.data_root=out"]


def settings(folder, layout, *more):
    return [*long_dataset(folder), f"output.layout={layout}", *LAYOUTS[layout], *more]


def finish(folder, *args):
    done = run(folder, *args)
    assert done.returncode == 0, done.stderr
    return digest(folder / "out" / "final")


def fresh(folder, name):
    (folder / name).mkdir()
    return make_workspace(folder / name)


def check_same(reference, other, what):
    changed = sorted(k for k in reference.keys() | other.keys() if reference.get(k) != other.get(k))
    assert not changed, f"{what}: {len(changed)} files differ, first {changed[:3]}"


def batch_sizes_and_threads(folder):
    for layout in LAYOUTS:
        reference = None
        for batch, threads in ((1, 1), (2, 2), (8, 1), (8, 2), (3, 2)):
            work = fresh(folder, f"{layout}-{batch}-{threads}")
            got = finish(work, *settings(work, layout, f"inference.batch_size={batch}", f"inference.threads={threads}"))
            reference = reference or got
            check_same(reference, got, f"{layout}, batch_size {batch}, {threads} threads")
    return f"{len(reference)} files, 6 settings, 2 layouts"


def all_rows_or_those_that_are_needed(folder):
    """inference.slice computes less, and nothing else."""
    flops = set()
    for more in ([], ["capture.layers=[1]"], ["capture.capture_lse=true", "capture.capture_values=true"]):
        reference = None
        for way in (["inference.slice=false"], ["inference.slice=true"], ["inference.slice=true", "inference.batch_size=3"]):
            work = fresh(folder, f"{len(flops)}-{'-'.join(way)}-{len(more)}-{len(''.join(more))}")
            args = [x for s in settings(work, "branch", *more, *way) for x in ("--set", s)]
            plan = json.loads(engine(["plan", "config.yaml", "--json", "--no-probe", *args, "--look", "1000"], work).stdout)
            done = engine(["run", "config.yaml", "--quiet", "--json", *args], work)
            assert done.returncode == 0, done.stderr
            result = json.loads(done.stdout)
            for key in ("flops", "flops_without_slice"):
                assert abs(result[key] - plan[key]) <= 1e-9 * plan[key], (key, plan[key], result[key])
            whole = way == ["inference.slice=false"]
            assert whole == (result["flops"] == result["flops_without_slice"]) and result["flops"] > 0, result
            flops.add(result["flops"] / result["flops_without_slice"])
            got = digest(work / "out/final")
            reference = reference or got
            check_same(reference, got, f"{more}, {way}")
    return f"{100 * min(flops):.0f} % of the operations at least"


def running_twice(folder):
    for layout in LAYOUTS:
        work = fresh(folder, layout)
        first = finish(work, *settings(work, layout))
        check_same(first, finish(work, *settings(work, layout)), "second run")
        assert not list((work / "out/staging").glob("unit*")), "units are left over"


def killed_and_resumed(folder):
    rng, kills, resumed = random.Random(SEED), 0, 0
    for layout in LAYOUTS:
        work = fresh(folder, layout + "-reference")
        begin = time.time()
        reference = finish(work, *settings(work, layout))
        seconds = time.time() - begin
        work = fresh(folder, layout + "-killed")
        args = [str(ROOT / "qkengine"), "run", "config.yaml", "--quiet"]
        for s in settings(work, layout):
            args += ["--set", s]
        alive = 0
        for attempt in range(40):
            process = subprocess.Popen(args, cwd=work, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.02, 0.9) * seconds)
            process.send_signal(signal.SIGKILL)
            killed = process.wait() == -signal.SIGKILL
            alive += killed
            staging, final = work / "out/staging", work / "out/final"
            resumed += killed and any(staging.glob("unit-*.qku"))
            if (final / "manifest.json").exists() or (final / "model/manifest.json").exists():
                # The manifest is renamed last: everything it lists is whole and right.
                assert set(digest(final).items()) <= set(reference.items()), "a half-written final folder"
            if alive == 5:
                break
            if not killed:      # it was done before the signal came: begin anew
                shutil.rmtree(work / "out")
        assert alive == 5, f"{layout}: only {alive} runs were alive when they were killed"
        kills += alive
        check_same(reference, finish(work, *settings(work, layout)), "after kills")
    return f"{kills} kills, {resumed} of them with finished units to resume from"


def stopped_by_a_signal(folder):
    work = fresh(folder, "work")
    args = ["run", "config.yaml", "--quiet"]
    for s in settings(work, "branch", "inference.batch_size=1", "inference.threads=1"):
        args += ["--set", s]
    process = subprocess.Popen([str(ROOT / "qkengine"), *args], cwd=work, stderr=subprocess.PIPE, text=True)
    while not list(work.glob("out/staging/unit-*.qku")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    if process.returncode == 0:
        return "SKIPPED: the run ended before the signal"
    assert process.returncode == 3, (process.returncode, err)
    assert "run the same command again" in err, err
    reference = fresh(folder, "reference")
    check_same(finish(reference, *settings(reference, "branch")), finish(work, *settings(work, "branch")), "after SIGTERM")


def stop_after_a_unit(work, *more):
    """Starts a run and ends it by a signal; whether units were left behind."""
    args = [str(ROOT / "qkengine"), "run", "config.yaml", "--quiet"]
    for s in settings(work, "branch", "model.dtype=bfloat16", "inference.batch_size=1", "inference.threads=1", *more):
        args += ["--set", s]
    process = subprocess.Popen(args, cwd=work, stderr=subprocess.PIPE, text=True)
    while not list(work.glob("out/staging/unit-*.qku")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode in (0, 3), (process.returncode, err)
    return process.returncode == 3


def resumed_on_another_processor(folder):
    """The bits of the units that are there decide: AMX adds bfloat16 products in an order of its own."""
    work = fresh(folder, "work")
    stopped = stop_after_a_unit(work, "inference.isa=portable")
    reference = fresh(folder, "reference")
    bfloat16 = settings(work, "branch", "model.dtype=bfloat16")
    check_same(finish(reference, *settings(reference, "branch", "model.dtype=bfloat16", "inference.isa=portable")),
               finish(work, *bfloat16), "resumed without inference.isa")
    work = fresh(folder, "foreign")
    if not stopped or not stop_after_a_unit(work):
        return "SKIPPED: the run ended before the signal"
    (work / "out/staging/arithmetic").write_text(seal("cuda sm_90a"))
    units = sorted(work.glob("out/staging/unit-*"))
    done = run(work, *settings(work, "branch", "model.dtype=bfloat16"))
    assert done.returncode == 1 and "'cuda sm_90a'" in done.stderr and "computed with 'cpu" in done.stderr, done.stderr
    assert sorted(work.glob("out/staging/unit-*")) == units and not (work / "out/final").exists()


def other_settings_are_refused(folder):
    work = fresh(folder, "work")
    finish(work, *settings(work, "branch"))
    before = digest(work / "out/final")
    done = run(work, *settings(work, "branch", "capture.sampler.base_rate=2.5"))
    assert done.returncode == 1, done.stderr
    assert "base_rate: 8" in done.stderr and "2.5" in done.stderr, done.stderr
    assert digest(work / "out/final") == before


def plan_says_what_run_writes(folder):
    work = fresh(folder, "work")
    args = [x for s in settings(work, "branch", "capture.sampler.type=all") for x in ("--set", s)]
    plan = json.loads(engine(["plan", "config.yaml", "--json", *args], work).stdout)
    done = engine(["run", "config.yaml", "--quiet", "--json", *args], work)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert plan["files"] == result["files"] == 24, (plan, result)
    assert plan["examples"] == result["examples"] == 150, (plan, result)
    assert plan["rows"] == result["rows"], (plan, result)


if __name__ == "__main__":
    sys.exit(main("same bytes", [batch_sizes_and_threads, all_rows_or_those_that_are_needed, running_twice, killed_and_resumed, stopped_by_a_signal,
                                 resumed_on_another_processor, other_settings_are_refused, plan_says_what_run_writes]))
