"""Shared by the end-to-end tests: a counting runner, a run of qkengine, digests of a folder."""
import functools
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"   # before `datasets` is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")            # only the tests of the Hub have one, on the loopback
ROOT = pathlib.Path(__file__).resolve().parents[2]
CASE = ROOT / "tests/data/capture/case1_llama_log_uniform"
# Seconds after which something hangs, however busy the machine is. It is the only use of the clock: what is shown is an order of events, a
# number of requests or bytes, or processor time.
HANGS = 300


def shared(name):
    """A file or folder of the goldens, which may be absent."""
    return pathlib.Path(os.environ.get("QK_SHARED", ROOT.parent / "shared")) / name


def engine(args, cwd, **more):
    """Runs ./qkengine; returns the finished process with text output."""
    return subprocess.run([str(ROOT / "qkengine"), *map(str, args)], cwd=cwd, capture_output=True, text=True, **more)


def make_workspace(folder, case=CASE):
    """A folder with the case's model, dataset and config.yaml, as copies that a test may damage."""
    shutil.copytree(case / "model", folder / "model")
    shutil.copytree(case / "dataset", folder / "dataset")
    shutil.copy(case / "config.yaml", folder / "config.yaml")
    return folder


def wait_until(what, process=None):
    """Returns what() once it is true; fails when the process ends before."""
    end = time.monotonic() + HANGS
    while not (got := what()):
        assert time.monotonic() < end, "it hangs"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.002)
    return got


def processor_seconds():
    """Of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(cwd, *settings, config="config.yaml", **more):
    args = ["run", config, "--quiet"]
    for s in settings:
        args += ["--set", s]
    return engine(args, cwd, **more)


def refused(done, *words, status=1):
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr, (word, done.stderr)


def parquet_sample(folder, rows=1500, way="split", group=700):
    """A file with every kind of column that the writer knows, in row groups of `group` rows."""
    path = folder / f"sample-{rows}-{group}-{way}.parquet"
    subprocess.run([ROOT / "build/cpu/tests/test_parquet", "write", path, str(rows), str(group), way], check=True, capture_output=True)
    return path


def digest(folder):
    """{relative path: SHA-256} of every file."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*")) if p.is_file()}


@functools.cache
def fail_once():
    """The library that fails one system call (tests/tools/fail_once.c), built; None where the system does not let it watch."""
    library = ROOT / "build/tests/fail_once.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as top:   # suites run side by side: whole, or not there
        built = pathlib.Path(top) / library.name
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(built), str(ROOT / "tests/tools/fail_once.c")], check=True)
        built.replace(library)
    tried = subprocess.run(["true"], env={**os.environ, "LD_PRELOAD": str(library), "FAIL_CALL": "openat"}, capture_output=True)
    return library if tried.returncode == 0 else None


def fails(call, at, error, env=os.environ):
    """The environment in which the at-th call of a kind ends with an errno; 0: none does."""
    return {**env, "LD_PRELOAD": str(fail_once()), "FAIL_CALL": call, "FAIL_AT": str(at), "FAIL_ERRNO": str(error)}


def count_calls(folder, call, args, env=os.environ):
    """Calls of one kind that a command makes."""
    report = folder / "count"
    done = engine(args, folder, env={**fails(call, 0, 0, env), "FAIL_COUNT": str(report)})
    assert done.returncode == 0, done.stderr
    wait_until(lambda: report.exists() and report.read_text().endswith("\n"))
    n = int(report.read_text())
    report.unlink()
    return n


def high_water(pid):
    """The most memory that a process had so far, in bytes; 0 once the process is gone. The account of a finished process (ru_maxrss) would hold this program's own size, too."""
    try:
        with open(f"/proc/{pid}/status") as f:
            return next((1024 * int(line.split()[1]) for line in f if line.startswith("VmHWM")), 0)
    except ProcessLookupError:
        return 0


def seal(text):
    """A small file of staging as the engine writes it: the text, and a last line with its digest."""
    text += "" if text.endswith("\n") or not text else "\n"
    return f"{text}sha256 {hashlib.sha256(text.encode()).hexdigest()}\n"


def seal_manifest(tree):
    """manifest.json as the engine writes it: its last member is the digest of all before it."""
    text = json.dumps({**{k: v for k, v in tree.items() if k != "sha256"}, "sha256": "0" * 64}, indent=2) + "\n"
    head = text[:-len('"\n}\n') - 64]
    return head + hashlib.sha256(head.encode()).hexdigest() + '"\n}\n'


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")


def words_asked():
    """Arguments that are parts of tests' names, or whole names; not options, numbers and paths."""
    return [a for a in sys.argv[1:] if re.fullmatch(r"[A-Za-z_]\w*", a)]


def number_asked(default):
    """The first argument that is a whole number (a seed, a count), wherever it stands among words and paths."""
    return next((int(a) for a in sys.argv[1:] if a.isdigit()), default)


def chosen(tests, words):
    """The tests that words ask for; none where no test has one of the words in its name."""
    names = [t.__name__ for t in tests]
    for w in words:
        if not any(w in n for n in names):
            print(f"no test of this suite has \"{w}\" in its name; there are: {', '.join(names)}")
            return []
    fits = lambda name: any(w == name if w in names else w in name for w in words)
    return [t for t in tests if not words or fits(t.__name__)]


def main(title, tests, words=None):
    """Calls each test that the words ask for (None: the command line's) with a fresh temporary folder; prints counts; returns the exit status."""
    import tempfile
    passed = failed = skipped = 0
    wanted = chosen(tests, words_asked() if words is None else words)
    if tests and not wanted:
        return 2
    for test in wanted:
        with tempfile.TemporaryDirectory() as folder:
            try:
                said = test(pathlib.Path(folder))
                if isinstance(said, str) and said.startswith("SKIPPED"):
                    print(f"{said}: {test.__name__}")
                    skipped += 1
                else:
                    passed += 1
                    print(f"ok   {test.__name__}" + (f": {said}" if said else ""))
            except Exception:
                failed += 1
                print(f"FAIL {test.__name__}")
                traceback.print_exc(file=sys.stdout)
    print(f"{title}: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0
