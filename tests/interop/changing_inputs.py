"""Inputs that change while a run uses them are refused with their name, and what is left in staging was made of the right bytes; a limited run reads and knows only its rows; signals end a start at once.

Times are not guessed: a run is stopped (SIGSTOP) behind a unit that is there, the file is changed, and the run goes on.
"""
import contextlib
import fcntl
import gzip
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from common import HANGS, ROOT, digest, engine, main, make_workspace, processor_seconds, run, write_jsonl  # noqa: E402

ROWS = 240
SETTINGS = ["inference.batch_size=1", "inference.threads=1", "inference.backend=cpu", "tokenizer.max_length=30000", "capture.layers=[0]", "dataset.split=train",
            "dataset.text_column=text", "dataset.id_column=id", "output.layout=branch"]


def rows(n=ROWS):
    words = "one two three four five six seven eight nine ten".split()
    return [{"id": i, "text": " ".join(words[(i * k) % 10] for k in range(1, 120)) + f" {i}"} for i in range(n)]


def make(folder, dataset, *more):
    """A workspace whose settings name `dataset`, a path inside it."""
    work = make_workspace(folder)
    return work, [*SETTINGS, f"dataset.path={dataset}", *more]


def arguments(settings):
    args = [str(ROOT / "qkengine"), "run", "config.yaml", "--quiet"]
    for s in settings:
        args += ["--set", s]
    return args


def begin(work, settings, units=2):
    """A run that is stopped behind its first units."""
    process = subprocess.Popen(arguments(settings), cwd=work, stderr=subprocess.PIPE, text=True)
    while len(list(work.glob("out/staging/unit-*.qku"))) < units:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    process.send_signal(signal.SIGSTOP)
    return process


def end(process):
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=HANGS)
    return process.returncode, err


def refused(process, name):
    rc, err = end(process)
    assert rc == 1, (rc, err)
    assert name in err and "was changed while it was in use" in err, err


def finished(work, settings):
    done = run(work, *settings)
    assert done.returncode == 0, done.stderr
    return digest(work / "out/final")


# ---- what happens to a file ----

def write_into(path):
    """Other bytes near the end, the same size, the old time of modification."""
    times = path.stat()
    with open(path, "r+b") as f:
        f.seek(-20, os.SEEK_END)
        f.write(b"zz")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def append(path):
    with open(path, "ab") as f:
        f.write(path.read_bytes()[:200])


def replace(path):
    other = path.with_name("other")
    shutil.copy(path, other)
    write_into(other)
    other.rename(path)


CHANGES = [write_into, cut, append, replace]


def write_parquet(path, table):
    import pyarrow
    import pyarrow.parquet
    columns = {k: [r[k] for r in table] for k in table[0]}
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=90, compression="zstd")


def write_csv(path, table):
    path.write_text("id,text\n" + "".join(f"{r['id']},{r['text']}\n" for r in table))


def write_gzip(path, table):
    path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in table).encode(), 1))


def dataset_changes(folder):
    """Every way of changing, every format. Then the first bytes come back, and the units that are left make the same result."""
    formats = {"d.jsonl": write_jsonl, "d.csv": write_csv, "d.parquet": write_parquet, "d.jsonl.gz": write_gzip}
    count = 0
    for name, write in formats.items():
        work, settings = make(folder / name, "d/" + name)
        (work / "d").mkdir()
        path = work / "d" / name
        write(path, rows())
        kept = path.read_bytes()
        reference = finished(work, settings)
        for change in CHANGES:
            shutil.rmtree(work / "out")
            process = begin(work, settings)
            change(path)
            refused(process, name)
            assert not (work / "out/final").exists(), (name, change)
            units = len(list(work.glob("out/staging/unit-*.qku")))
            assert units >= 2, units
            if change is not append:            # the changed file is another run
                done = run(work, *settings)
                assert done.returncode == 1, done.stderr
            path.write_bytes(kept)
            assert finished(work, settings) == reference, (name, change.__name__)
            count += 1
    return f"{count} changes"


def another_file_of_a_folder(folder):
    """A file whose turn has not come is known as well: from its hashing."""
    work, settings = make(folder, "d")
    (work / "d").mkdir()
    table = rows()
    for i in range(3):
        write_jsonl(work / f"d/train-{i}.jsonl", table[i * 80:(i + 1) * 80])
    process = begin(work, settings)
    replace(work / "d/train-2.jsonl")
    refused(process, "train-2.jsonl")


# ---- the model ----

def file_that_comes_between_passes(folder):
    """A unit that is computed again is of the files that the run began with, whatever the folder holds by then."""
    table = rows()
    for i, limit in enumerate(([], [f"dataset.max_samples={ROWS - 30}"])):
        work, settings = make(folder / str(i), "data", *limit)
        (work / "data").mkdir()
        write_jsonl(work / "data/train-b.jsonl", table)
        fresh = finished(work, settings)
        shutil.rmtree(work / "out")
        process = begin(work, settings)
        unit = work / "out/staging/unit-000000.qku"
        damaged = bytearray(unit.read_bytes())
        damaged[len(damaged) // 2] ^= 1     # of a vector: the merge finds it, behind the first pass
        unit.write_bytes(damaged)
        write_jsonl(work / "data/train-a.jsonl", [{**r, "text": "other " + r["text"]} for r in table])
        rc, err = end(process)
        assert rc == 0 and "computed again" in err, (rc, err)
        assert digest(work / "out/final") == fresh


def card_says_the_type_of_ids(folder):
    """The same files under another card are other ids: another run, whether the rows are limited or not."""
    card = "---\ndataset_info:\n  features:\n  - name: id\n    dtype: string\n---\n"
    for i, limit in enumerate(([], [f"dataset.max_samples={ROWS - 30}"])):
        work, settings = make(folder / str(i), "data", *limit)
        (work / "data").mkdir()
        write_jsonl(work / "data/train.jsonl", rows())
        process = begin(work, settings)
        process.kill()
        process.wait()
        (work / "data/README.md").write_text(card)
        done = run(work, *settings)
        word = "dataset_rows.sha256" if limit else 'dataset_id_type: nothing then, "string" now'
        assert done.returncode == 1 and word in done.stderr, done.stderr
        (work / "data/README.md").write_text("another card\n")
        resumed = finished(work, settings)
        shutil.rmtree(work / "out")
        assert resumed == finished(work, settings)


def while_it_waits(work, settings, change):
    """Another process holds the folder, so a run that has hashed its inputs waits before it loads them."""
    (work / "out/staging").mkdir(parents=True)
    with open(work / "out/staging/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        args = [a for a in arguments(settings) if a != "--quiet"]
        process = subprocess.Popen(args, cwd=work, stderr=subprocess.PIPE, text=True)
        while "waiting for its end" not in process.stderr.readline():
            assert process.poll() is None
        change()
    _, err = process.communicate(timeout=HANGS)
    return process.returncode, err


def model_changes(folder):
    """Between hashing and loading: the manifest would name the old weights over new rows."""
    count = 0
    for name in ["model.safetensors", "config.json", "tokenizer.json"]:
        for change in [write_into, replace]:
            work, settings = make(folder / f"{name}-{change.__name__}", "dataset")
            settings = [s for s in settings if not s.startswith(("dataset.", "capture."))]
            rc, err = while_it_waits(work, settings, lambda: change(work / "model" / name))
            assert rc == 1 and name in err and "was changed while it was in use" in err, (rc, err)
            assert not list(work.glob("out/staging/unit*")) and not (work / "out/final").exists()
            assert not (work / "out/staging/identity.json").exists(), "bound to weights that are gone"
            count += 1
    return f"{count} changes"


def layers_read_again(folder):
    """A checkpoint that is cut off while its layers are read over and over."""
    work, settings = make(folder, "d.jsonl", "inference.layers_in_memory=2", "capture.layers=null")
    write_jsonl(work / "d.jsonl", rows(100))
    process = begin(work, settings, 1)
    cut(work / "model/model.safetensors")
    rc, err = end(process)
    assert rc == 1 and "model.safetensors" in err, (rc, err)


# ---- limited runs ----

def nothing_behind_the_rows(folder):
    """60 GB of zeros behind the rows are not read; a run that hashed them would take half a minute of a processor."""
    work, settings = make(folder, "d.jsonl", "dataset.max_samples=100")
    write_jsonl(work / "d.jsonl", rows(101))
    os.truncate(work / "d.jsonl", 60 << 30)
    before = processor_seconds()
    done = run(work, *settings, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    run_of = json.loads((work / "out/final/manifest.json").read_text())["runs"][0]["identity"]
    assert run_of["dataset_rows"]["rows"] == 100 and run_of["dataset_files"] == [{"name": "d.jsonl"}], run_of
    assert processor_seconds() - before < 15, processor_seconds() - before


def limited_and_resumed(folder):
    """Rows behind the limit may change between a start and its resume, and the bytes are the same; rows of the run may not."""
    work, settings = make(folder, "d.jsonl", "dataset.max_samples=120")
    path = work / "d.jsonl"
    write_jsonl(path, rows(150))
    kept = path.read_bytes()
    reference = finished(work, settings)
    shutil.rmtree(work / "out")
    process = begin(work, settings)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    write_jsonl(path, rows(120) + [{"id": "x", "text": "another"}])
    assert finished(work, settings) == reference
    done = run(work, *settings)
    assert done.returncode == 0 and digest(work / "out/final") == reference, done.stderr
    shutil.rmtree(work / "out")
    process = begin(work, settings)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    path.write_bytes(kept.replace(b" 110\"", b" 111\""))
    done = run(work, *settings)
    assert done.returncode == 1 and "dataset_rows.sha256" in done.stderr, done.stderr
    path.write_bytes(kept)
    assert finished(work, settings) == reference
    process = engine(["plan", "config.yaml", *sum((["--set", s] for s in settings), [])], work)
    assert process.returncode == 0, process.stderr


# ---- starts ----

def grow_checkpoint(work, size):
    """Adds a tensor that is not needed, as a hole of `size` bytes."""
    path = work / "model/model.safetensors"
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8:8 + n]), data[8 + n:]
    width = header["model.embed_tokens.weight"]["shape"][1]
    size = size // (4 * width) * 4 * width
    header["lm_head.weight"] = {"dtype": "F32", "shape": [size // 4 // width, width], "data_offsets": [len(body), len(body) + size]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    os.truncate(path, 8 + len(text) + len(body) + size)


def digests_are_noted(folder):
    """With notes and without them the bytes are the same; and a note is what the second start goes by: it believes another digest that stands there."""
    work, settings = make(folder, "d.jsonl")
    write_jsonl(work / "d.jsonl", rows(4))
    grow_checkpoint(work, 100 << 20)
    time.sleep(4)                       # a younger file is not noted
    off, cache = ({**os.environ, "QKENGINE_CACHE": c} for c in ["off", str(folder / "cache")])

    def result(env):
        shutil.rmtree(work / "out", ignore_errors=True)
        done = run(work, *settings, env=env)
        assert done.returncode == 0, done.stderr
        return digest(work / "out/final")

    assert result(off) == result(cache) == result(cache)
    manifest = work / "out/final/manifest.json"
    true = json.loads(manifest.read_text())["runs"][0]["identity"]["model_files"][0]["sha256"]
    notes = [n for n in (folder / "cache/digests").iterdir() if n.read_text().endswith(f" {true}\n")]
    assert len(notes) == 1 and notes[0].stat().st_mode & 0o77 == 0, notes
    notes[0].write_text(notes[0].read_text().replace(true, 64 * "0"))
    assert result(cache) != result(off)
    result(cache)
    assert json.loads(manifest.read_text())["runs"][0]["identity"]["model_files"][0]["sha256"] == 64 * "0"


def files_of(pid):
    """What a process has open at this moment."""
    for f in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(f)


def signals_while_hashing(folder):
    work, settings = make(folder, "d.jsonl")
    write_jsonl(work / "d.jsonl", rows(40))
    grow_checkpoint(work, 40 << 30)
    before = processor_seconds()
    for number in [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1]:
        process = subprocess.Popen(arguments(settings), cwd=work, stderr=subprocess.PIPE, text=True)
        while "model.safetensors" not in "".join(files_of(process.pid)):
            assert process.poll() is None
        time.sleep(0.2)
        process.send_signal(number)
        _, err = process.communicate(timeout=HANGS)
        used, before = processor_seconds() - before, processor_seconds()
        assert used < 10, used   # to hash all of it takes some twenty
        assert process.returncode == 3 and "run the same command again" in err, (process.returncode, err)


TESTS = [dataset_changes, another_file_of_a_folder, file_that_comes_between_passes, card_says_the_type_of_ids, model_changes, layers_read_again, nothing_behind_the_rows,
         limited_and_resumed, digests_are_noted, signals_while_hashing]

if __name__ == "__main__":
    sys.exit(main("changing inputs", TESTS))
