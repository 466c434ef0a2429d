#!/usr/bin/env python3
"""The final folder has the same bytes whoever built the program, and wherever it runs; what is about the build is in staging/builds.

usage: same_bytes_elsewhere.py    builds the program with clang too, and with CUDA=1 where the toolkit's headers are
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import hub_fixture
from common import ROOT, digest, engine, main, refused, run, seal, seal_manifest
from same_bytes import LAYOUTS, check_same, finish, fresh, settings


def builds():
    """{what it is: program} of every other build that this machine can make; built once for all tests."""
    other = {}
    if shutil.which("clang"):
        other["clang"] = (["CC=clang", "B=build/clang"], "build/clang/qkengine")
    if (pathlib.Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include/cublasLt.h").exists():
        other["CUDA=1"] = (["CUDA=1"], "build/cuda/qkengine")
    for args, program in other.values():
        subprocess.run(["make", "-s", "-j2", *args, program], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return {name: ROOT / program for name, (_, program) in other.items()}


def run_of(program, work, *settings, before=(), **more):
    args = [*before, program, "run", "config.yaml", "--quiet", *(x for s in settings for x in ("--set", s))]
    done = subprocess.run(list(map(str, args)), cwd=work, capture_output=True, text=True, **more)
    assert done.returncode == 0, (args, done.stderr)
    return digest(work / "out/final")


def instruction_sets(work):
    """Those that this processor has."""
    names = ("portable", "avx2", "avx512", "avx512bf16", "amx")
    tried = lambda n: run(work, *settings(work, "branch", f"inference.isa={n}", f"output.data_root={n}", "dataset.max_samples=1"))
    return [n for n in names if tried(n).returncode == 0]


def other_builds(folder):
    """All bytes, not only the rows: nothing in final/ tells who compiled the program, and compilers agree on the arithmetic of
    every instruction set."""
    programs, compared = builds(), 0
    for isa in instruction_sets(fresh(folder, "try")):
        for dtype, layout in (("float32", "branch"), ("bfloat16", "prefix")):
            more = ["dataset.max_samples=24", f"model.dtype={dtype}", f"inference.isa={isa}", "inference.backend=cpu",
                    "capture.capture_token_strings=true"]
            reference = None
            for name, program in {"gcc": ROOT / "qkengine", **programs}.items():
                work = fresh(folder, f"{isa}-{dtype}-{name}")
                got = run_of(program, work, *settings(work, layout, *more))
                reference = reference or got
                check_same(reference, got, f"{name}, {isa}, {dtype}")
                compared += 1
    if not programs:
        return "SKIPPED: neither clang nor the headers of the CUDA toolkit"
    return f"gcc, {', '.join(programs)}: {compared} runs of {len(reference)} files"


def surroundings(folder):
    """What differs between two machines, without another machine."""
    home = folder / "another home"
    home.mkdir()
    empty = {"PATH": os.environ["PATH"]}
    plain = {**os.environ, "QKENGINE_CACHE": "off"}
    yield "no environment", {"env": empty}
    yield "another home", {"env": {**empty, "HOME": str(home), "USER": "nobody", "LOGNAME": "nobody", "TMPDIR": str(home)}}
    yield "another time zone", {"env": {**plain, "TZ": "Pacific/Chatham"}}
    yield "another language", {"env": {**plain, "LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8", "LC_NUMERIC": "de_DE.UTF-8"}}
    yield "another umask", {"umask": 0o077, "env": plain}
    yield "one core", {"before": ["taskset", "-c", str(min(os.sched_getaffinity(0)))], "env": plain}
    yield "another OpenMP", {"env": {**plain, "OMP_NUM_THREADS": "5", "OMP_SCHEDULE": "dynamic,1", "OMP_DYNAMIC": "true"}}
    # The C library has versions of its own of memcpy, exp and sin for each kind of processor.
    yield "an older processor", {"env": {**plain, "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX2_Usable,-FMA,-FMA_Usable,-FMA4"}}
    yield "memory that is not zero", {"env": {**plain, "MALLOC_PERTURB_": "165"}}
    if subprocess.run(["unshare", "--uts", "true"], capture_output=True).returncode == 0:
        yield "another host", {"before": ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"], "env": plain}


def other_surroundings(folder):
    reference, seen = None, []
    for name, where in surroundings(folder):
        for layout in LAYOUTS:
            work = fresh(folder, f"{layout}, {name}")
            more = ["dataset.max_samples=60", "capture.capture_token_strings=true", "model.dtype=" + ("bfloat16" if layout == "branch" else "float32")]
            got = run_of(ROOT / "qkengine", work, *settings(work, layout, *more), **where)
            reference = reference or {}
            check_same(reference.setdefault(layout, got), got, f"{layout}, {name}")
        seen.append(name)
    return ", ".join(seen)


def facts_of_the_machine(folder):
    """No file of final/ holds a word about the machine, the build or this place."""
    work = fresh(folder, "work-of-this-test")
    finish(work, *settings(work, "prefix"))
    said = engine(["--version"], folder).stdout
    build = re.fullmatch(r"qkengine \S+ \(((?:gcc|clang) [0-9.]+), (\w+), (cpu(?:, cuda)?), libzstd ([0-9.]+)\)\n", said)
    assert build, said
    words = [build[1], build[2], "libzstd", "work-of-this-test", os.uname().nodename, os.uname().release, str(time.gmtime().tm_year),
             os.environ.get("HOME", "/root") + "/"]
    for path in (work / "out/final").rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        for word in words:
            # A short word may come up among packed bytes; such a file is looked at as a whole by the other tests.
            assert path.suffix == ".parquet" and len(word) < 6 or word.encode() not in data, (path, word)
    note = work / "out/staging/builds"
    assert note.read_text() == seal(said.removeprefix("qkengine ")), note.read_text()
    log = engine(["run", "config.yaml", *(x for s in settings(work, "prefix") for x in ("--set", s))], work)
    assert f"qkengine: version {said.removeprefix('qkengine ')}" in log.stderr, log.stderr


def who_has_written(folder):
    """staging/builds has a line for each program; nothing depends on it."""
    work = fresh(folder, "work")
    here = settings(work, "prefix", "dataset.max_samples=20")
    once = finish(work, *here)
    note, said = work / "out/staging/builds", engine(["--version"], folder).stdout.removeprefix("qkengine ")
    note.write_text(seal("0.0.9 (cc 1.0, x86_64, cpu, libzstd 1.0.0)\n"))
    assert finish(work, *here) == once and "0.0.9" in note.read_text() and said not in note.read_text()
    for n, lines in ((30, 2), (40, 2)):
        finish(work, *settings(work, "prefix", f"dataset.max_samples={n}"))
        assert note.read_text() == seal(f"0.0.9 (cc 1.0, x86_64, cpu, libzstd 1.0.0)\n{said}"), note.read_text()
    note.write_text("rotten\n")
    done = run(work, *settings(work, "prefix", "dataset.max_samples=50"))
    assert done.returncode == 0 and "builds: is damaged" in done.stderr and note.read_text() == seal(said.removeprefix("qkengine ")), done.stderr
    precious = folder / "precious"
    precious.write_text("precious")
    note.unlink()
    note.symlink_to(precious)
    refused(run(work, *settings(work, "prefix", "dataset.max_samples=60")), "staging/builds")
    assert precious.read_text() == "precious"
    note.unlink()
    finish(work, *settings(work, "prefix", "dataset.max_samples=60"))


def as_older_versions_did(final):
    path = next(final.rglob("manifest.json"))
    tree = json.loads(path.read_text())
    assert "build" not in tree
    del tree["attention"]   # they said nothing of it
    path.write_text(seal_manifest({"format": tree.pop("format"), "build": "gcc 4.4.7, x86_64, cpu", **tree}))
    return path


def manifests_with_a_build(folder):
    """Of an older version: read by a rerun, a merge and a push, and gone where one is written."""
    for layout in LAYOUTS:
        work = fresh(folder, layout)
        finish(work, *settings(work, layout, "dataset.max_samples=20"))
        path = as_older_versions_did(work / "out/final")
        old = path.read_bytes()
        done = engine(["run", "config.yaml", *(x for s in settings(work, layout, "dataset.max_samples=20") for x in ("--set", s))], work)
        assert done.returncode == 0 and "holds this run already" in done.stderr and path.read_bytes() == old, done.stderr
    got = finish(work, *settings(work, layout, "dataset.max_samples=40"))
    reference = fresh(folder, "reference")
    finish(reference, *settings(reference, layout, "dataset.max_samples=20"))
    check_same(finish(reference, *settings(reference, layout, "dataset.max_samples=40")), got, "rows added to an older manifest's")


def begun_by_0_1_0(folder):
    """A run has the identity that 0.1.0 gave it, so that its staging and its final/ go on, whatever --version says."""
    work = fresh(folder, "work")
    finish(work, "output.data_root=out")
    tree = json.loads(next(work.rglob("manifest.json")).read_text())
    assert [r["fingerprint"] for r in tree["runs"]] == ["e467ca16823e866cd4dbb82553ab135a185f12d9bd07ae5c9d01a648bd7a8927"], tree["runs"]
    assert tree["runs"][0]["identity"]["engine"] == "qkengine 0.1.0"
    file = next(work.glob("out/final/*/l00h00q/data.parquet")).read_bytes()
    assert b"qkengine version 0.1.0" in file


def pushed_with_a_build(folder):
    """A branch with such a manifest is joined, and the folder has the bytes that it has without."""
    final = []
    for name in ("without", "with"):
        work = fresh(folder, name)
        (work / "home").mkdir()
        hub = hub_fixture.Hub()
        hub.state.create("dataset", "tester/captures")
        env = hub.env(work / "home", token=hub_fixture.WRITE)
        push = lambda root: engine(["push", root, "tester/captures"], work, env=env)
        here = settings(work, "prefix", "dataset.max_samples=20")
        assert run(work, *here, "output.data_root=first").returncode == 0
        if name == "with":
            as_older_versions_did(work / "first/final")
        done = push("first/final")
        assert done.returncode == 0, done.stderr
        assert run(work, *settings(work, "prefix", "dataset.max_samples=40"), "output.data_root=second").returncode == 0
        done = push("second/final")
        assert done.returncode == 0 and "merged" in done.stderr, done.stderr
        final.append({k: v for k, v in digest(work / "second/final").items() if not k.startswith(".qkengine/")})
        assert (work / "second/final/.qkengine/builds").exists()
        there = hub.state.repositories["dataset", "tester/captures"]
        assert not any(name.startswith(".qkengine") for name in there.commits[there.refs["main"]]["tree"])
    check_same(*final, "joined with an older manifest's")


if __name__ == "__main__":
    sys.exit(main("same bytes elsewhere", [other_builds, other_surroundings, facts_of_the_machine, who_has_written,
                                           manifests_with_a_build, begun_by_0_1_0, pushed_with_a_build]))
