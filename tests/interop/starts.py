#!/usr/bin/env python3
"""Starts that fail and the ones after them, what the system says when it refuses, signals in every phase, hints, and names
that are longer than a line; each once went wrong.

usage: starts.py
"""
import errno
import json
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

from datasets import ReadInstruction

import hub_fixture
from common import HANGS, ROOT, count_calls, digest, engine, fail_once, fails, main, make_workspace, processor_seconds, refused, run, write_jsonl

SHIM = fail_once()
ENGINE = str(ROOT / "qkengine")
ROWS = ["dataset.path=a.jsonl", "dataset.id_column=id", "inference.threads=1", "output.layout=branch"]
RESUMED = "run the same command again: what is finished is kept"


def texts(n, words=12):
    rng, w = random.Random(1), (ROOT / "tests/demo/texts.jsonl").read_text(encoding="utf-8").split()
    return [{"id": f"row-{i}", "text": " ".join(rng.choices(w, k=words)), "number": i} for i in range(n)]


def workspace(folder, rows=20, words=12):
    make_workspace(folder)
    write_jsonl(folder / "a.jsonl", texts(rows, words))
    return folder


def a_run(folder, *settings, **more):
    return run(folder, *ROWS, *settings, **more)


def good(done):
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done


# ---- what the system says ----

def folders_that_cannot_be_made(folder):
    """07: errno of mkdir, whichever folder it is: a full disk and a quota go on later (3), the rest is said by its name (1)."""
    if not SHIM:
        return "SKIPPED: no seccomp notifications"
    workspace(folder)
    command = ["run", "config.yaml", "--quiet", *(a for s in [*ROWS, "output.data_root=tm/out"] for a in ("--set", s))]
    n = count_calls(folder, "mkdir", command)
    expected = digest(folder / "tm/out/final")
    said = {"ENOSPC": (3, "the disk is full"), "EDQUOT": (3, "the quota is used up"), "EROFS": (1, "Read-only file system"),
            "EACCES": (1, "Permission denied"), "EPERM": (1, "Operation not permitted"), "ENAMETOOLONG": (1, "File name too long"),
            "EMLINK": (1, "Too many links"), "EIO": (3, "Input/output error")}
    cases = 0
    for name, (status, words) in said.items():
        for at in {1, 2, 3, 4, n // 2, n}:
            shutil.rmtree(folder / "tm", ignore_errors=True)
            done = engine(command, folder, env=fails("mkdir", at, getattr(errno, name)))
            if done.returncode:   # a folder that is there is fine, whatever mkdir says
                refused(done, words, status=status)
                assert not (folder / "tm/out/final/manifest.json").exists()
                cases += 1
            assert at > 3 or done.returncode, (name, at)
            good(engine(command, folder))
            assert digest(folder / "tm/out/final") == expected, (name, at)
    return f"{cases} errors"


def real_file_systems(folder):
    """07, with a file system that has no inode left and a read-only one."""
    workspace(folder)
    script = "mkdir tm && mount -t tmpfs -o {} none tm && {} exec {} run config.yaml --quiet --set output.data_root=tm/out"
    unshared = ["unshare", "-m", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*unshared, "mkdir t && mount -t tmpfs none t"], cwd=folder, capture_output=True).returncode:
        return "SKIPPED: no mount here"
    for options, first, status, words in [("size=2m,nr_inodes=2", "touch tm/x &&", 3, "the disk is full"), ("ro", "", 1, "Read-only file system")]:
        shutil.rmtree(folder / "tm", ignore_errors=True)
        done = subprocess.run([*unshared, script.format(options, first, ENGINE)], cwd=folder, capture_output=True, text=True)
        refused(done, "tm/out: cannot make the folder: " + words, status=status)


def standard_output_is_full(folder):
    """What was printed and did not arrive is an error, also of --help and --version."""
    with open("/dev/full", "w") as full:
        for args in (["--help"], ["--version"], ["run", "--help"], ["families"]):
            done = subprocess.run([ENGINE, *args], stdout=full, stderr=subprocess.PIPE, text=True)
            assert done.returncode == 3 and "the disk is full" in done.stderr, (args, done)


# ---- starts ----

def first_row(folder, text):
    rows = texts(20)
    rows[0]["text"] = text
    write_jsonl(folder / "a.jsonl", rows)


def broken(folder, name, change):
    path = folder / "model" / name
    shutil.copy(path, folder / name)
    path.write_bytes(change(path.read_bytes()))


def whole_again(name):
    return lambda folder: shutil.move(folder / name, folder / "model" / name)


def larger_vocabulary(data):
    tree = json.loads(data)
    tree["added_tokens"].append({"id": len(tree["model"]["vocab"]) + 90000, "content": "the", "single_word": False, "lstrip": False,
                                 "rstrip": False, "normalized": False, "special": False})
    return json.dumps(tree).encode()


def a_nan(data):
    """In the last value of a tensor that is used: its high bytes, in float32 and in bfloat16."""
    n, = struct.unpack("<Q", data[:8])
    end = 8 + n + json.loads(data[8:8 + n])["model.layers.1.self_attn.q_proj.weight"]["data_offsets"][1]
    return data[:end - 2] + b"\xc0\x7f" + data[end:]


def tree_of(folder):
    return {k: v for k, v in digest(folder / "out").items() if k != "staging/lock"} if (folder / "out").exists() else {}


# name -> what is wrong, the settings of the wrong start, how it is put right, and what is said
STARTS = {
    "a null text in row 0": (lambda f: first_row(f, None), [], lambda f: first_row(f, texts(20)[0]["text"]), "'text' is null"),
    "a text that is a number": (lambda f: first_row(f, 7), [], lambda f: first_row(f, texts(20)[0]["text"]), "text"),
    "no such column": (None, ["dataset.text_column=txt"], None, "there is no column 'txt'"),
    "a column of numbers": (None, ["dataset.text_column=number"], None, "'number'"),
    "no such split": (None, ["dataset.split=tset"], None, "tset"),
    "no such data": (None, ["dataset.path=b.jsonl"], None, "b.jsonl"),
    "a layer that is not there": (None, ["capture.layers=[99]"], None, "99"),
    "a head that is not there": (None, ["capture.heads=[99]"], None, "99"),
    "a dtype that is none": (None, ["model.dtype=float7"], None, "float7"),
    "a backend that is none": (None, ["inference.backend=fast"], None, "fast"),
    "no such model": (None, ["model.name=modle"], None, "modle"),
    "a tokenizer that is cut off": (lambda f: broken(f, "tokenizer.json", lambda d: d[:500]), [], whole_again("tokenizer.json"), "tokenizer.json"),
    "another model's tokenizer": (lambda f: broken(f, "tokenizer.json", larger_vocabulary), [], whole_again("tokenizer.json"), ""),
    "weights that are cut off": (lambda f: broken(f, "model.safetensors", lambda d: d[:-1000]), [], whole_again("model.safetensors"), "model.safetensors"),
    "weights that are no numbers": (lambda f: broken(f, "model.safetensors", a_nan), [], whole_again("model.safetensors"), "model.safetensors"),
    "a shape that is not the weights'": (None, ["model.config_overrides={intermediate_size: 100}"], None, "tensor"),
    "a file in the folder's place": (lambda f: (f / "out").write_text(""), [], lambda f: (f / "out").unlink(), "out"),
}


def a_failed_start_binds_nobody(folder):
    """08: whatever ended a start before its first unit, the next one with the right settings is as if there had been none, and
    nothing of it lies in final/."""
    workspace(folder)
    good(a_run(folder))
    expected = digest(folder / "out/final")
    for name, (damage, settings, mend, words) in STARTS.items():
        shutil.rmtree(folder / "out")
        if damage:
            damage(folder)
        done = a_run(folder, *settings)
        assert done.returncode, name
        refused(done, words, status=2 if "must be one of" in done.stderr else 1)
        assert not (folder / "out/final").exists(), (name, tree_of(folder))
        units = [p for p in (folder / "out").rglob("unit-*")] if (folder / "out").is_dir() else []
        assert not units, (name, units)
        if mend:
            mend(folder)
        done = good(a_run(folder))
        assert digest(folder / "out/final") == expected, name
        assert sorted(p.name for p in (folder / "out/staging").iterdir()) == ["builds", "lock"], name
    return f"{len(STARTS)} starts"


def a_failed_start_beside_a_result(folder):
    """What is in final/ stays as it is, and the run that adds to it goes on."""
    workspace(folder)
    good(run(folder, *ROWS[:3], "output.layout=prefix"))
    before = digest(folder / "out/final")
    first_row(folder, None)
    refused(run(folder, *ROWS[:3], "output.layout=prefix"), "is null")
    assert digest(folder / "out/final") == before
    write_jsonl(folder / "a.jsonl", texts(24))
    good(run(folder, *ROWS[:3], "output.layout=prefix"))
    assert digest(folder / "out/final") != before


def numbers_are_found_before_the_weights(folder):
    """Which format it is does not matter: a column of no texts is said before anything is loaded."""
    workspace(folder)
    (folder / "a.csv").write_text("id,text\n1,2\n3,4\n")
    for path, column in (("a.jsonl", "number"), ("a.csv", "text")):
        done = engine(["run", "config.yaml", "--set", f"dataset.path={path}", "--set", f"dataset.text_column={column}"], folder)
        refused(done, path, column, "set dataset.text_column to a column of texts")
        assert "weights" not in done.stderr, done.stderr
    rows = texts(20)
    rows[0]["text"] = 7   # a row that a slice leaves out says nothing of the others
    write_jsonl(folder / "a.jsonl", rows)
    refused(a_run(folder, "dataset.split=train[:5]"), "a number, not a string")


def a_run_without_a_row_says_so(folder):
    workspace(folder)
    few = ["tokenizer.max_length=1", "capture.sampler.base_rate=1.0e-9"]
    done = good(a_run(folder, *few))
    assert "no row was kept" in done.stderr and "tokenizer.max_length" in done.stderr, done.stderr
    assert "no row was kept" not in good(a_run(folder, "dataset.max_samples=0", "output.data_root=none")).stderr
    assert "no row was kept" not in good(a_run(folder, "output.data_root=some")).stderr


def out_of_memory(folder):
    workspace(folder)
    ends = set()
    for kilobytes in range(30000, 90000, 4000):
        done = subprocess.run(["sh", "-c", f"ulimit -v {kilobytes}; exec {ENGINE} run config.yaml --quiet " + " ".join(f"--set {s}" for s in ROWS)],
                              cwd=folder, capture_output=True, text=True)
        if done.returncode == 127 or "shared librar" in done.stderr:
            continue   # the program itself does not fit
        ends.add(done.returncode)
        assert done.returncode == 0 or done.returncode == 1 and "qkengine: error: " in done.stderr, done
        if done.returncode:
            first_row(folder, f"another text {kilobytes}")
            good(a_run(folder))
        shutil.rmtree(folder / "out", ignore_errors=True)
    assert 1 in ends, ends


def start(folder, *settings, ignored=(), **more):
    args = [ENGINE, "run", "config.yaml", "--quiet", *(a for s in [*ROWS, *settings] for a in ("--set", s))]
    return spawn(args, folder, ignored, **more)


def spawn(args, folder, ignored=(), **more):
    return subprocess.Popen(args, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            preexec_fn=lambda: [signal.signal(s, signal.SIG_IGN) for s in ignored], **more)


def catches(process, which):
    """Whether the process has a handler of its own for a signal by now."""
    try:
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    except FileNotFoundError:
        return False
    found = re.search(r"SigCgt:\s*([0-9a-f]+)", status)
    return bool(found and int(found[1], 16) >> (which - 1) & 1)


def wait_for(process, what):
    end = time.monotonic() + HANGS
    while process.poll() is None and not what():
        assert time.monotonic() < end
        time.sleep(0.0005)


def two_starts_one_without_a_unit(folder):
    """One process has named its run and finished no unit: while it lives another run is refused; once it is gone it binds nobody."""
    workspace(folder, 4000, 60)
    first = start(folder, "tokenizer.max_length=90", "capture.sampler.base_rate=1")
    staging = folder / "out/staging"
    wait_for(first, (staging / "identity.json").exists)
    first.send_signal(signal.SIGSTOP)
    assert not list(staging.glob("unit-*.qku")), "it was too fast"
    second = a_run(folder, "tokenizer.max_length=20", "dataset.max_samples=20")
    refused(second, "out/staging: a run with other settings is working here")
    first.kill()
    first.communicate()
    good(a_run(folder, "tokenizer.max_length=20", "dataset.max_samples=20"))


# ---- signals ----

ENDS = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU]


def ended(process, what, done_is_fine=True):
    said = process.communicate(timeout=HANGS)[1]
    if process.returncode == 0 and done_is_fine:
        return False
    assert process.returncode == 3, (what, process.returncode, said)
    lines = said.strip().splitlines()
    assert any("qkengine: error: " in line for line in lines), (what, said)
    assert "again" in lines[-1], (what, said)
    return True


def signals_in_every_phase(folder):
    """12: each signal that ends a run ends it with 3 and a last line, from its first moment to its merge."""
    workspace(folder, 1500, 40)
    good(a_run(folder, "output.data_root=whole"))
    expected, staging, stopped = digest(folder / "whole/final"), folder / "out/staging", 0
    phases = {"load": lambda: True, "bound": (staging / "identity.json").exists, "prefill": lambda: list(staging.glob("unit-*.qku")),
              "merge": (staging / "merged").exists}
    for which in ENDS:
        for name, reached in phases.items():
            process = start(folder)
            wait_for(process, lambda: catches(process, which) and reached())
            process.send_signal(which)
            if ended(process, (name, which)):
                stopped += 1
            else:
                shutil.rmtree(folder / "out")
        shutil.rmtree(folder / "out/final", ignore_errors=True)
    good(a_run(folder))
    assert digest(folder / "out/final") == expected
    assert sorted(p.name for p in staging.iterdir()) == ["builds", "lock"]
    assert stopped >= len(ENDS) * 2, stopped
    return f"{stopped} stops of {len(ENDS) * len(phases)}"


def signals_of_limits(folder):
    """XFSZ is no end of its own, the write that reaches the limit is; XCPU comes from the kernel, too."""
    workspace(folder, 3000, 60)
    process = start(folder, "dataset.max_samples=500")
    wait_for(process, lambda: catches(process, signal.SIGTERM))
    process.send_signal(signal.SIGXFSZ)
    assert process.wait() == 0, process.communicate()
    shutil.rmtree(folder / "out")
    args = " ".join(f"--set {s}" for s in ROWS)
    for limit, words in (("-f 4", "File too large"), ("-St 1", "stopped by signal 24")):
        done = subprocess.run(["bash", "-c", f"ulimit {limit}; exec {ENGINE} run config.yaml --quiet {args} --set tokenizer.max_length=1000 "
                               "--set inference.backend=ref"], cwd=folder, capture_output=True, text=True)
        refused(done, words, "again", status=3)


def signals_that_were_ignored(folder):
    """nohup and trap '': what the parent ignores stays ignored; INT, which shells ignore for every job in the background, does not."""
    workspace(folder, 1500, 40)
    for which in ENDS:
        shutil.rmtree(folder / "out", ignore_errors=True)
        other = signal.SIGTERM if which != signal.SIGTERM else signal.SIGHUP
        process = start(folder, ignored=[which])
        wait_for(process, lambda: catches(process, other))
        process.send_signal(which)
        if which == signal.SIGINT:
            ended(process, which, done_is_fine=False)
        else:
            assert process.wait() == 0, (which, process.communicate())


def signals_elsewhere(folder):
    """synth, pull and push: 3 and a last line, or done; the same command then gives the whole."""
    hub = hub_fixture.Hub()
    hub.add("model", "me/model", {"config.json": b"{}", **{f"model-{i}.safetensors": os.urandom(3 << 20) for i in range(4)}})
    workspace(folder)
    good(a_run(folder))
    hub.state.create("dataset", "tester/rows")
    home, stopped = folder / "home", 0
    read, write = hub.env(home), hub.env(home, token=hub_fixture.WRITE)
    commands = {"synth": ([ENGINE, "synth", "--like", "qwen3-0.6b", "--layers", "1", "new", "--quiet"], None, ["new"]),
                "pull": ([ENGINE, "pull", "me/model", "--include", "*", "--quiet"], read, ["home"]),
                "push": ([ENGINE, "push", "out/final", "tester/rows", "--quiet"], write, [])}
    for name, (args, env, made) in commands.items():
        if name == "synth":
            args = [a for a in args if a != "--quiet"]
        for which in ENDS:
            for delay in (0, 0.02, 0.1):
                process = spawn(args, folder, env=env)
                wait_for(process, lambda: catches(process, which))
                time.sleep(delay)
                process.send_signal(which)
                stopped += ended(process, (name, which))
                for path in made:
                    shutil.rmtree(folder / path, ignore_errors=True)
        done = subprocess.run(args, cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, (name, done)
    assert stopped > 9, stopped
    return f"{stopped} stops"


def readers_die_of_the_signal(folder):
    """What writes nothing has nothing to go on with: it ends as programs do."""
    make_workspace(folder)
    process = subprocess.Popen([ENGINE, "tokenize", "model", "-"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=HANGS) == -signal.SIGTERM


def a_reader_that_goes(folder):
    """`| head -1`: without a word and by SIGPIPE; an error where the parent ignores SIGPIPE. Nothing is computed for nobody."""
    workspace(folder, 3000)
    (folder / "many.txt").write_text("a line of some words\n" * 2_000_000)
    command = f"{ENGINE} inspect a.jsonl --rows 3000 | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "141" and not done.stderr, done
    done = subprocess.run(["bash", "-c", "trap '' PIPE; " + command], cwd=folder, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "1" and "standard output: cannot write: Broken pipe" in done.stderr, done
    before = processor_seconds()
    done = subprocess.run(["bash", "-c", f"{ENGINE} tokenize --lines model many.txt | head -1; echo ${{PIPESTATUS[0]}}"], cwd=folder, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "141", done
    assert processor_seconds() - before < 2, "it went on to the end"


# ---- hints, names, slices ----

def hints_of_the_command_line(folder):
    """16: an integer in another spelling is offered as the one that is taken."""
    workspace(folder)
    good(a_run(folder))
    for option, args in (("--rows", ["inspect", "a.jsonl"]), ("--max-length", ["tokenize", "model", "a.jsonl"]), ("--look", ["plan", "config.yaml"])):
        for text, right in (("1e1", "10"), ("1_0", "10"), ("10.0", "10"), ("1.0e+1", "10"), ("99999999999999999999", None), ("ten", None), ("-3", None), ("1.5", None)):
            done = engine([*args, option, text], folder)
            refused(done, f"{option} {text}: ", status=2)
            offered = re.search(r"write (\S+)", done.stderr)
            assert (offered and offered[1]) == right, (text, done.stderr)
            if right:
                good(engine([*args, option, right], folder))
    done = engine(["plan", "config.yaml", "--set", "dataset.max_samples=1e3"], folder)
    refused(done, "write 1000", status=2)
    good(engine(["plan", "config.yaml", "--set", "dataset.max_samples=1000"], folder))
    done = engine(["plan", "config.yaml", "--set", "model.revision=17"], folder)
    refused(done, "in quotes", status=2)
    setting = re.search(r"--set '([^']*)'", done.stderr)[1]
    good(engine(["plan", "config.yaml", "--set", setting], folder))


def names_that_are_long(folder):
    """14: columns are told apart by their whole names, in every format; messages say where they cut one."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    x = "x" * 300
    columns = {x: "hello", x + "a": "one", x + "b": "two", "id": "i7"}
    (folder / "a.csv").write_text(",".join(columns) + "\n" + ",".join(columns.values()) + "\n")
    (folder / "a.tsv").write_text("\t".join(columns) + "\n" + "\t".join(columns.values()) + "\n")
    write_jsonl(folder / "a.jsonl", [columns])
    pq.write_table(pa.table({k: [v] for k, v in columns.items()}), folder / "a.parquet")
    for path in ("a.csv", "a.tsv", "a.jsonl", "a.parquet"):
        for name, text in columns.items():
            done = good(engine(["inspect", path, "--text-column", name, "--rows", "1", "--json"], folder))
            found = json.loads(done.stdout)["configs"]["default"]
            assert list(found["columns"]) == list(columns), path
            assert text in json.dumps(found["rows"] if "rows" in found else found), (path, name)
        for wrong in (x[:255], x + "c", "x" * 255 + "a"):
            done = engine(["inspect", path, "--text-column", wrong, "--rows", "1"], folder)
            refused(done, "there is no column", f"({len(wrong)} bytes)", "(301 bytes)", "id")
            assert "did you mean" not in done.stderr, done.stderr
    (folder / "two.csv").write_text(f"{x},{x},id\na,b,1\n")
    assert "two columns are named" in engine(["inspect", "two.csv", "--text-column", x, "--rows", "1"], folder).stderr


def slices(folder):
    """17: the rows of `datasets` for a slice, or a refusal."""
    rng, sizes = random.Random(17), {"a": 300, "b": 7}
    for name, n in sizes.items():
        write_jsonl(folder / f"{name}.jsonl", [{"id": i, "text": "word"} for i in range(n)])
    bounds = ["", "0", "-0", "1", "7", "007", "1_0", "1_00", "2_9_9", "1__0", "_1", "1_", "-1_0", "-_1", "--1", "+5", "299", "300", "301", "1_000", "-1", "-299",
              "-300", "-301", "99999999", "1e2", "0x10", "1.5", " 1", "1 ", "10%", "1_0%", "10_0%", "1__0%", "100%", "101%", "-50%", "-100%", "-101%", "33%",
              "0%", "-0%", "50_%", "%", "1%%", "99%", "12.5%"]
    ends = ["", "(closest)", "(pct1_dropremainder)", "()", "(nearest)", "x", " ", "[:1]"]
    valid = [b for b in bounds if re.fullmatch(r"(-?\d+(_\d+)*%?)?", b)]
    specs = {f"train[{a}:{b}]" for a in bounds for b in bounds if rng.random() < 0.05}
    specs |= {f"train[{a}:{b}]" for a in valid for b in valid if ("%" in a) == ("%" in b) and rng.random() < 0.6}
    specs |= {f"train[:{b}]{e}" for b in bounds for e in ends if rng.random() < 0.4}
    specs |= {f"train[:{b}]" for b in bounds} | {f"train[{a}:]" for a in bounds} | {"train[5]", "train[]", "train[:]", "train", "train(closest)", "train[:1:2]"}
    alike = refusals = stricter = 0
    for spec in sorted(specs):
        for name, n in sizes.items():
            try:
                wanted = ReadInstruction.from_spec(spec).to_absolute({"train": n})[0]
                wanted = list(range(n))[wanted.from_:wanted.to] if wanted.to > wanted.from_ else []
            except (ValueError, AssertionError):
                wanted = None
            done = engine(["inspect", f"{name}.jsonl", "--split", spec, "--id-column", "id", "--rows", "400", "--json"], folder)
            if wanted is None:
                assert done.returncode == 1, (spec, done.stdout[-200:])
                refusals += 1
            elif done.returncode:
                mixed = re.search(r"\[-?[\d_]+%:-?[\d_]+\]|\[-?[\d_]+:-?[\d_]+%\]", spec)
                assert not wanted or mixed or "(pct1" in spec, (spec, done.stderr)
                stricter += 1
            else:
                rows = json.loads(done.stdout)["configs"]["default"]["rows"]
                assert [int(r["id"]) for r in rows] == wanted, (spec, n)
                alike += 1
    assert alike > 250, alike
    return f"{alike} alike, {refusals} refused by both, {stricter} refused here only"


if __name__ == "__main__":
    sys.exit(main("starts", [
        folders_that_cannot_be_made, real_file_systems, standard_output_is_full, a_failed_start_binds_nobody, a_failed_start_beside_a_result,
        numbers_are_found_before_the_weights, a_run_without_a_row_says_so, out_of_memory, two_starts_one_without_a_unit, signals_in_every_phase, signals_of_limits, signals_that_were_ignored, signals_elsewhere,
        readers_die_of_the_signal, a_reader_that_goes, hints_of_the_command_line, names_that_are_long, slices]))
