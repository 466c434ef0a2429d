#!/usr/bin/env python3
"""What the system refuses or takes away: standard files that are closed, limits of memory, threads and
file sizes, a reader that goes, links that somebody planted, names full of control characters."""
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys

from common import HANGS, ROOT, digest, main, make_workspace, run, wait_until

ENGINE = str(ROOT / "qkengine")
OUT = ["--set", "output.data_root=out"]


def shell(folder, command, **more):
    return subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "Q": ENGINE, **more})


def limited(folder, args, kind, most, **env):
    """Runs the engine under a limit of the kind RLIMIT_*."""
    return subprocess.run([ENGINE, *args], cwd=folder, capture_output=True, text=True, env={**os.environ, **env},
                          preexec_fn=lambda: resource.setrlimit(kind, (most, resource.getrlimit(kind)[1])))


def undisturbed(folder):
    make_workspace(folder)
    done = run(folder, "output.data_root=expected")
    assert done.returncode == 0, done.stderr
    return digest(folder / "expected/final")


def standard_files_may_be_closed(folder):
    expected = undisturbed(folder)
    for closed in ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"]:
        shutil.rmtree(folder / "out", ignore_errors=True)
        done = shell(folder, f"exec {closed}; exec $Q run config.yaml --set output.data_root=out")
        assert done.returncode == 0, (closed, done)
        assert digest(folder / "out/final") == expected, closed
        lock = (folder / "out/staging/lock").read_bytes()
        assert len(lock) == 16 and lock.isalnum(), lock


def memory_that_is_not_there(folder):
    """At each limit the run is done, or ends with one line that says why, and the next start goes on."""
    expected = undisturbed(folder)
    ends = {0: 0, 1: 0}
    for megabytes in range(40, 420, 20):
        shutil.rmtree(folder / "out", ignore_errors=True)
        done = limited(folder, ["run", "config.yaml", "--quiet", *OUT], resource.RLIMIT_AS, megabytes << 20,
                       OMP_NUM_THREADS="3", QKENGINE_CACHE="off")
        if done.returncode == 127 or "shared librar" in done.stderr:
            continue                            # the program itself does not fit
        assert done.returncode in ends, (megabytes, done)
        ends[done.returncode] += 1
        if done.returncode:
            assert "qkengine: error: " in done.stderr and "libgomp" not in done.stderr, (megabytes, done.stderr)
            assert "internal error" not in done.stderr, (megabytes, done.stderr)
            assert run(folder, "output.data_root=out").returncode == 0
        assert digest(folder / "out/final") == expected, megabytes
    assert ends[0] and ends[1], ends
    print(f"memory: {ends[0]} limits that are enough, {ends[1]} errors")


def threads_that_do_not_start(folder):
    make_workspace(folder)
    for command in [["run", "config.yaml", *OUT], ["verify", "model", "none.safetensors"], ["synth", "--like", "qwen3-0.6b", "new"]]:
        done = limited(folder, command, resource.RLIMIT_AS, 1 << 46, OMP_STACKSIZE="900000G", OMP_NUM_THREADS="2")
        assert done.returncode == 1, done
        assert "qkengine: error: a thread does not start" in done.stderr and "ulimit -v is 68719476736 kB" in done.stderr, done.stderr
        assert "libgomp" not in done.stderr, done.stderr


def threads_follow_what_is_allowed(folder):
    """The log names how many and why; head files have the same bytes with any number."""
    make_workspace(folder)
    cpus = sorted(os.sched_getaffinity(0))
    one = {"preexec_fn": lambda: os.sched_setaffinity(0, cpus[:1])}
    cases = [({"OMP_NUM_THREADS": "2"}, {}, [], "2 threads (OMP_NUM_THREADS)"),
             ({"OMP_NUM_THREADS": "2", "SLURM_CPUS_PER_TASK": "1"}, {}, [], "2 threads (OMP_NUM_THREADS)"),
             ({"OMP_NUM_THREADS": "2"}, one, ["--set", "inference.threads=3"], "3 threads (inference.threads)"),
             ({}, {}, ["--set", "inference.threads=7"], "7 threads (inference.threads)"),
             ({}, {}, ["--set", "inference.threads=1"], "1 thread (inference.threads)")]
    if len(cpus) > 1:
        cases += [({"SLURM_CPUS_PER_TASK": "1"}, {}, [], "1 thread (SLURM_CPUS_PER_TASK)"), ({}, one, [], "1 thread (CPU affinity)")]
    plain = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")}
    files = []
    for variables, more, settings, expected in cases:
        shutil.rmtree(folder / "out", ignore_errors=True)
        done = subprocess.run([ENGINE, "run", "config.yaml", *OUT, *settings], cwd=folder, env={**plain, **variables}, capture_output=True, text=True, **more)
        assert done.returncode == 0 and f", {expected}\n" in done.stderr, (expected, done.stderr)
        files.append({p: d for p, d in digest(folder / "out/final").items() if p.endswith("data.parquet")})
    assert files[0] and all(f == files[0] for f in files)


def file_sizes(folder):
    expected = undisturbed(folder)
    stops = 0
    for kilobytes in [1, 4, 16, 64]:
        shutil.rmtree(folder / "out", ignore_errors=True)
        done = limited(folder, ["run", "config.yaml", "--quiet", *OUT], resource.RLIMIT_FSIZE, kilobytes << 10, QKENGINE_CACHE="off")
        assert done.returncode in (0, 3), done
        if done.returncode:
            stops += 1
            assert "File too large" in done.stderr and "ulimit -f" in done.stderr, done.stderr
            assert run(folder, "output.data_root=out").returncode == 0
        assert digest(folder / "out/final") == expected
    assert stops, "no limit was small enough"


def a_reader_that_goes(folder):
    make_workspace(folder)
    rows = [{"id": i, "text": f"row {i} " * 20} for i in range(5000)]
    (folder / "many.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    done = shell(folder, "$Q inspect many.jsonl --rows 5000 --full | head -n 1; echo ${PIPESTATUS[0]}")
    assert done.stdout.splitlines()[-1] == str(128 + signal.SIGPIPE) and not done.stderr, done
    done = shell(folder, "$Q inspect many.jsonl --rows 5000 --full > /dev/full; echo $?")
    assert done.stdout == "1\n" or done.stdout == "3\n", done
    assert "standard output: cannot write: the disk is full" in done.stderr, done
    # A run goes on when nobody reads its log, and its rows are there.
    done = shell(folder, "($Q run config.yaml --set output.data_root=out; echo $? > status) 2>&1 | true; sleep 0")
    wait_until(lambda: (folder / "status").exists() and (folder / "status").read_text())
    assert (folder / "status").read_text() == "0\n" and (folder / "out/final/README.md").exists()


def planted_links(folder):
    """Nothing is written through a link that lies under one of our names in staging."""
    expected = undisturbed(folder)
    victim = folder / "victim"
    for name in ["lock", "unit-000000.claim", "units.json", "arithmetic", "identity.json"]:
        for kind in ["link", "dangling", "second name"]:
            shutil.rmtree(folder / "out", ignore_errors=True)
            (folder / "out/staging").mkdir(parents=True)
            victim.write_text("precious")
            planted = folder / "out/staging" / name
            if kind == "second name":
                os.link(victim, planted)
            else:
                planted.symlink_to(victim if kind == "link" else folder / "made-by-us")
            done = run(folder, "output.data_root=out", timeout=HANGS)
            assert victim.read_text() == "precious" and not (folder / "made-by-us").exists(), (name, kind, done)
            assert done.returncode in (0, 1, 3), (name, kind, done)
            assert done.returncode or digest(folder / "out/final") == expected, (name, kind)
            assert not done.returncode or "out/staging" in done.stderr, (name, kind, done.stderr)


def names_with_control_characters(folder):
    evil = "w\x1b]0;title\x07\x9b31m\u202e\nqkengine: all is well"
    header = json.dumps({evil: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0\0\0")
    done = subprocess.run([ENGINE, "inspect", "a.safetensors"], cwd=folder, capture_output=True)
    shown = done.stdout.decode()
    assert done.returncode == 0 and "w\\x1b]0;title\\x07\\u009b31m\\u202e\\nqkengine: all is well" in shown, (shown, done.stderr)
    (folder / "evil").mkdir()
    name = "evil/\x1b[2J\u202e.jsonl"
    (folder / name).write_text('{"\x7fcolumn\u009b": "x\u009by"}\n')
    for command in [["inspect", name], ["inspect", "evil"], ["inspect", "evil", "--rows", "1", "--text-column", "\x7fcolumn\u009b"], ["run", name]]:
        done = subprocess.run([ENGINE, *command], cwd=folder, capture_output=True)
        for text in (done.stdout.decode(), done.stderr.decode()):
            raw = [c for c in text if (ord(c) < 32 and c != "\n") or 0x7f <= ord(c) < 0xa0 or c == "\u202e"]
            assert not raw, (command, raw, text)


if __name__ == "__main__":
    sys.exit(main("limits", [standard_files_may_be_closed, memory_that_is_not_there, threads_that_do_not_start, threads_follow_what_is_allowed, file_sizes,
                             a_reader_that_goes, planted_links, names_with_control_characters]))
