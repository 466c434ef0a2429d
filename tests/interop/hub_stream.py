"""A dataset of the Hub comes file by file, as its rows are read: what is asked for and when, what stops a run in the
middle and what goes on, and that final/ holds the same bytes however the files came.
"""
import concurrent.futures
import hashlib
import io
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq

import common
from common import CASE, HANGS, ROOT, wait_until
from pull_common import HUB, cache_problems, finish, folder_files, fresh   # first: it finds tests/hub
from hub.cases import case

DATA = "me/stream"
ROWS, SHARDS = 24, 5   # of each file; units are of 8 rows
SETTINGS = ["model.name=me/tiny", f"dataset.path={DATA}", "tokenizer.max_length=16384", "capture.layers=[0]"]
WEIGHTS = hashlib.sha256((CASE / "model/model.safetensors").read_bytes()).hexdigest()
WORDS = "the of a to in is it that for was on are as with his they at be this from I have or by one".split()


# ---- repositories ----

def rows_of(name, n=ROWS):
    """Rows whose texts and ids no other file has."""
    first = int(hashlib.sha256(name.encode()).hexdigest()[:12], 16)
    return [{"id": first + i, "text": " ".join(WORDS[(first + i * k) % len(WORDS)] for k in range(1, 9))} for i in range(n)]


def parquet(rows):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def jsonl(rows):
    return "".join(json.dumps(r) + "\n" for r in rows).encode()


def csv(rows):
    return ("id,text\n" + "".join(f"{r['id']},{r['text']}\n" for r in rows)).encode()


WRITERS = {"parquet": parquet, "jsonl": jsonl, "csv": csv}


def shard(i, split="train", n=SHARDS, end="parquet"):
    return f"data/{split}-{i:05d}-of-{n:05d}.{end}"


def shards(split="train", n=SHARDS, end="parquet", rows=ROWS):
    return {shard(i, split, n, end): WRITERS[end](rows_of(shard(i, split, n, end), rows)) for i in range(n)}


def host(files, name=DATA, **more):
    """A Hub without memory of the test before, with the tiny model and a dataset of these files; its commit."""
    fresh()
    if ("model", "me/tiny") not in HUB.state.repositories:
        HUB.add("model", "me/tiny", {p: f.read_bytes() for p, f in folder_files(CASE / "model").items()})
    return HUB.add("dataset", name, {"README.md": b"# Texts\n", **files}, **more)


# ---- runs ----

def command(*settings):
    args = [str(ROOT / "qkengine"), "run", "config.yaml"]
    for s in [*SETTINGS, *settings]:
        args += ["--set", s]
    return args


def workspace(tmp, name="work"):
    (tmp / name).mkdir(exist_ok=True)
    shutil.copy(CASE / "config.yaml", tmp / name / "config.yaml")
    return tmp / name


def run(tmp, *settings, work="work", home="home", code=0, **env):
    """A run in tmp/work with the cache of tmp/home; its messages."""
    p = subprocess.run(command(*settings), cwd=workspace(tmp, work), env=HUB.env(tmp / home, **env), capture_output=True, text=True)
    assert p.returncode == code, (p.returncode, p.stderr)
    return p.stderr


def final(tmp, work="work"):
    return common.digest(tmp / work / "out/final")


def manifest(folder):
    """The only one below a final/ folder."""
    return json.loads(next(folder.glob("**/manifest.json")).read_text())


def asked(repeated=False):
    """Data files whose content was asked for, in order."""
    names = [r.split("/resolve/")[1].split("/", 1)[1] for r in HUB.requests() if f"/datasets/{DATA}/resolve/" in r]
    names = [n for n in names if n != "README.md"]
    return names if repeated else list(dict.fromkeys(names))


def blobs():
    """Requests to the storage, by digest, without those for the model."""
    got = [r.split("/repos/")[1] for r in HUB.requests() if "storage /repos/" in r]
    return [b for b in got if b != WEIGHTS]


def sha(data):
    return hashlib.sha256(data).hexdigest()


def without(run, paths):
    """An entry of a manifest's runs without these keys."""
    for path in paths:
        *above, last = path.split(".")
        at = run
        for key in above:
            at = at[key]
        at.pop(last, None)
    return run


def same_but_for(a, b, *paths, files=()):
    """Two folders of final/ are equal, but for these keys of the manifest, and these files; how many files there are."""
    x, y = common.digest(a), common.digest(b)
    different = {p for p in x if x[p] != y.get(p)}
    for path in {p for p in different if pathlib.Path(p).name == "examples.parquet" and p in y}:   # its metadata names the run by its fingerprint
        assert pq.read_table(a / path).equals(pq.read_table(b / path)), path
        said = [json.loads(pq.read_metadata(folder / path).metadata[b"qkengine.attention"]) for folder in (a, b)]
        assert [without(r, ["fingerprint"]) for r in said[0]["runs"]] == [without(r, ["fingerprint"]) for r in said[1]["runs"]]
        different.discard(path)
    assert x.keys() == y.keys() and {pathlib.Path(p).name for p in different} <= {"manifest.json", *files}, different
    runs = [[without(r, paths) for r in manifest(folder)["runs"]] for folder in (a, b)]
    assert runs[0] == runs[1]
    return len(x)


# ---- what is asked for ----

def test_max_samples(tmp):
    """Rows within the first of five files: nothing of the others, whatever the format."""
    for end in WRITERS:
        files = shards(end=end)
        host(files)
        run(tmp, "dataset.max_samples=20", work=end)
        assert asked() == [shard(0, end=end)], (end, asked())
        assert len(blobs()) <= 1
        fresh()
        run(tmp, f"dataset.max_samples={ROWS + 1}", work=end + "2")
        assert asked() == [shard(1, end=end)], (end, asked())
        fresh()   # as many rows as two files have: the third is not opened
        run(tmp, f"dataset.max_samples={2 * ROWS}", work=end + "3")
        assert asked() == [], (end, asked())
    return "3 formats"


def test_order(tmp):
    host(shards())
    run(tmp)
    assert asked(repeated=True) == [shard(i) for i in range(SHARDS)], asked(repeated=True)
    assert blobs() == [sha(d) for d in shards().values()]


def test_one_ahead(tmp):
    """The second file fails for good: it was asked for in the background, and once more when its turn came; the third never."""
    for end, limit, rounds in (("parquet", "null", 2), ("csv", "null", 2), ("parquet", "30", 2), ("csv", "30", 1)):
        host(shards(end=end))
        HUB.fault(f"resolve/.*{shard(1, end=end)}", status=500, times=-1)
        run(tmp, f"dataset.max_samples={limit}", work=f"{end}{limit}", home=f"{end}{limit}", code=3)
        tries = asked(repeated=True)
        assert tries[0] == shard(0, end=end) and set(tries[1:]) == {shard(1, end=end)}, tries
        assert len(tries) == 1 + 6 * rounds, (end, limit, len(tries))
    return "4 cases"


def test_slices(tmp):
    """(split, files that are asked for)"""
    for end in ("parquet", "jsonl"):
        host(shards(end=end))
        for split, want in ((f"train[{ROWS + 6}:{ROWS + 16}]", [0, 1]), ("train[:5]", [0]), (f"train[:{ROWS}]", [0]),
                            (f"train[3:{2 * ROWS + 1}]", [0, 1, 2]), (f"train[:2]+train[{ROWS}:{ROWS + 1}]", [0, 1])):
            fresh()
            name = re.sub(r"\W", "_", split) + end
            run(tmp, f"dataset.split={split}", work=name, home=name)
            assert asked() == [shard(i, end=end) for i in want], (end, split, asked())


def test_counted_slices(tmp):
    """Percentages and rows from the end need all of that split, and nothing of another; a line says so, with the bytes."""
    train, test = shards(), shards("test", 2)
    host({**train, **test})
    for split, files in (("train[50%:]", train), ("test[-3:]", test)):
        fresh()
        name = re.sub(r"\W", "_", split)
        said = run(tmp, f"dataset.split={split}", work=name, home=name)
        assert sorted(asked()) == sorted(files), asked()
        line = [s for s in said.splitlines() if "needs the number of rows of the whole split" in s]
        assert len(line) == 1 and f"{len(files)} files, " in line[0] and "kB" in line[0], said
    fresh()
    said = run(tmp, "dataset.split=train[50%:]", work="again", home=name)
    assert sorted(asked()) == sorted(train), asked()


def test_two_splits(tmp):
    train, test = shards(n=2), shards("test", 2)
    host({**train, **test})
    for split, more, want in (("train+test", [], [*train, *test]), ("test+train", [], [*test, *train]), ("all", [], [*train, *test]),
                              ("train+test", [f"dataset.max_samples={2 * ROWS}"], [*train]),
                              ("train+test", [f"dataset.max_samples={2 * ROWS + 1}"], [*train, list(test)[0]])):
        fresh()
        name = re.sub(r"\W", "_", split) + "".join(more)
        run(tmp, f"dataset.split={split}", *more, work=name, home=name)
        assert asked(repeated=True) == want, (split, more, asked(repeated=True))


def test_long_csv(tmp):
    """The types of CSV are guessed from 10,000 rows at a time: of this file, not of the next."""
    files = shards(n=2, end="csv", rows=10_500)
    host(files)
    run(tmp, "dataset.max_samples=9", "dataset.id_column=null", work="few")
    assert asked() == [shard(0, n=2, end="csv")], asked()


def test_configurations(tmp):
    """Only files of the card's configuration and split."""
    card = b"---\nconfigs:\n- config_name: en\n  data_files:\n  - {split: train, path: en/*.parquet}\n- config_name: fr\n  data_files: fr/*.parquet\n---\n"
    files = {f"{lang}/{i}.parquet": parquet(rows_of(f"{lang}{i}")) for lang in ("en", "fr") for i in range(2)}
    host({"README.md": card, **files})
    run(tmp, "dataset.name=fr")
    assert asked() == ["fr/0.parquet", "fr/1.parquet"], asked()


def test_types_beside_the_card(tmp):
    """dataset_infos.json is fetched with the card, and its types count."""
    told = {"me--data": {"features": {"id": {"dtype": "string", "_type": "Value"}, "text": {"dtype": "string", "_type": "Value"}}}}
    host({"dataset_infos.json": json.dumps(told).encode(), **shards(n=1)})
    run(tmp)
    assert asked() == ["dataset_infos.json", shard(0, n=1)], asked()
    ids = pq.read_table(next((tmp / "work/out/final").rglob("examples.parquet")))["id"].to_pylist()
    assert len(ids) == ROWS and not set(ids) & {r["id"] for r in rows_of(shard(0, n=1))}


def test_complete_run_asks_for_no_content(tmp):
    """A run that is done already needs the listing only, even where the cache is gone."""
    host(shards())
    run(tmp)
    before = final(tmp)
    fresh()
    said = run(tmp, home="other")
    assert "nothing to do" in said and asked() == [] and final(tmp) == before, said


# ---- the same bytes ----

def test_same_bytes(tmp):
    """Lazy, with a warm cache, offline, all pulled before, and the snapshot as a local folder, whose path stands in README.md."""
    for end in ("parquet", "jsonl"):
        host(shards(end=end))
        run(tmp, work=end + "lazy", home=end)
        fresh()
        run(tmp, work=end + "warm", home=end)
        assert not asked() and not blobs(), HUB.requests()
        fresh()
        run(tmp, work=end + "offline", home=end, HF_HUB_OFFLINE="1")
        assert not HUB.log()
        p = common.engine(["pull", "--dataset", DATA, "--quiet"], cwd=tmp, env=HUB.env(tmp / (end + "pulled")))
        assert p.returncode == 0 and len(asked()) == SHARDS, p.stderr
        fresh()
        run(tmp, work=end + "pulled", home=end + "pulled")
        assert not asked()
        lazy = final(tmp, end + "lazy")
        assert all(final(tmp, end + w) == lazy for w in ("warm", "offline", "pulled"))
        run(tmp, f"dataset.path={p.stdout.strip()}", work=end + "local", home=end)
        differ = ["fingerprint", "identity.config.dataset.path", "dataset_commit"]
        if end != "parquet":   # small files of git: the listing has their sha1, a local file its SHA-256
            differ.append("identity.dataset_files")
        n = same_but_for(tmp / (end + "lazy") / "out/final", tmp / (end + "local") / "out/final", *differ, files=["README.md"])
    listed = manifest(tmp / "jsonllazy/out/final")["runs"][0]["identity"]["dataset_files"]
    data = shards(end="jsonl")
    assert [f["git_sha1"] for f in listed] == [hashlib.sha1(b"blob %d\0" % len(d) + d).hexdigest() for d in data.values()]
    return f"{n} files each"


def test_max_samples_same_bytes(tmp):
    """Files that were not fetched belong to what identifies the run, so that a full cache changes nothing."""
    host(shards())
    run(tmp, "dataset.max_samples=20", work="lazy", home="one")
    run(tmp, work="all", home="full")
    fresh()
    run(tmp, "dataset.max_samples=20", work="warm", home="full")
    assert not asked() and final(tmp, "lazy") == final(tmp, "warm")
    listed = manifest(tmp / "lazy/out/final")["runs"][0]
    assert [f["sha256"] for f in listed["identity"]["dataset_files"]] == [sha(d) for d in shards().values()]
    assert listed["dataset_commit"] == HUB.head("dataset", DATA)


def test_pythons_cache_offline(tmp):
    """huggingface_hub 1.4.1 keeps no listing: the names of its blobs are the digests."""
    for end in ("parquet", "jsonl"):
        host(shards(end=end))
        run(tmp, work=end, home=end)
        code = f"import huggingface_hub as h; h.snapshot_download('{DATA}', repo_type='dataset'); h.snapshot_download('me/tiny')"
        p = subprocess.run([sys.executable, "-c", code], env=HUB.env(tmp / ("python" + end)), capture_output=True, text=True)
        assert p.returncode == 0, p.stderr
        fresh()
        shutil.rmtree(tmp / ("python" + end) / "hub" / f"datasets--{DATA.replace('/', '--')}" / "trees", ignore_errors=True)
        said = run(tmp, work=end + "2", home="python" + end, HF_HUB_OFFLINE="1")
        assert final(tmp, end) == final(tmp, end + "2") and not HUB.log()
        assert "does not say which files it has" in said, said


# ---- what stops a run, and goes on ----

def reference(tmp, *settings):
    run(tmp, *settings, work="reference", home="reference")
    fresh()
    return final(tmp, "reference")


def units(tmp, work="work"):
    return len(list((tmp / work / "out/staging").glob("unit-*.qku")))


@case(9)
def test_trouble_in_the_middle(tmp):
    """The network fails at the third file; what is done stays, and the same command goes on."""
    host(shards())
    want = reference(tmp)
    for n, fault in enumerate((dict(match=f"resolve/.*{shard(2)}", status=503, times=-1), dict(match=f"^/repos/{sha(shards()[shard(2)])}", drop="reset", times=-1),
                               dict(match=f"^/repos/{sha(shards()[shard(2)])}", corrupt=True, times=-1))):
        work = f"work{n}"
        HUB.fault(**fault)
        said = run(tmp, work=work, home=work, code=1 if "corrupt" in fault else 3)
        assert "same command again" in said, said
        assert units(tmp, work) >= 2 * ROWS // 8 - 2, units(tmp, work)
        assert not cache_problems(tmp / work)
        fresh()
        run(tmp, work=work, home=work)
        assert asked() == [shard(i) for i in range(2, SHARDS)], asked()
        assert final(tmp, work) == want
        fresh()


@case(38)
def test_killed_between_files(tmp):
    host(shards())
    want = reference(tmp)
    HUB.fault(f"^/repos/{sha(shards()[shard(2)])}", hold=True)
    p = subprocess.Popen(command(), cwd=workspace(tmp), env=HUB.env(tmp / "home"), stderr=subprocess.DEVNULL)
    while units(tmp) < 2 * ROWS // 8 - 1 and p.poll() is None:
        time.sleep(0.01)
    p.kill()
    assert p.wait() == -signal.SIGKILL, "it was done before"
    fresh()
    run(tmp)
    assert asked() == [shard(i) for i in range(2, SHARDS)] and final(tmp) == want, asked()


@case(38)
def test_signal_during_a_fetch(tmp):
    """While a file is waited for, and while one comes in the background."""
    host(shards())
    want = reference(tmp)
    HUB.fault(f"^/repos/{sha(shards()[shard(1)])}", hold=True, times=9)
    for work, ready in (("waits", lambda: units(tmp, "waits") >= ROWS // 8 - 1), ("first", lambda: len(blobs()) > 0)):
        if work == "first":
            fresh()
            HUB.fault(f"^/repos/{sha(shards()[shard(0)])}", hold=True, times=9)
        p = subprocess.Popen(command(), cwd=workspace(tmp, work), env=HUB.env(tmp / work), stderr=subprocess.PIPE, text=True)
        while not (ready() and blobs()) and p.poll() is None:
            time.sleep(0.01)
        time.sleep(0.2)
        p.send_signal(signal.SIGTERM)
        _, said = p.communicate(timeout=HANGS)   # the file is held until after
        assert p.returncode == 3 and "stopped by" in said and "signal" in said, (p.returncode, said)
        fresh()
        run(tmp, work=work, home=work)
        assert final(tmp, work) == want


def test_error_during_a_fetch(tmp):
    """A run that ends for another reason does not wait for the file that is on its way: neither its reader nor what comes ahead."""
    files = shards()
    for attempt in map(str, range(20)):   # until the second file is asked for before the first one's units are through
        host(files)
        HUB.fault(f"^/repos/{sha(files[shard(0)])}", hold=True)
        HUB.fault(f"^/repos/{sha(files[shard(1)])}", delay=2 * HANGS, times=9)
        staging = workspace(tmp, attempt) / "out/staging"
        p = subprocess.Popen(command(), cwd=workspace(tmp, attempt), env=HUB.env(tmp / f"home{attempt}"), stderr=subprocess.PIPE, text=True)
        wait_until(lambda: (staging / "lock").exists() and sha(files[shard(0)]) in blobs(), p)   # it has read the folder, and waits for the first file
        (staging / f"unit-{ROWS // 8 - 1:06d}.claim").mkdir()   # of the last unit of the first file
        HUB.release()
        said = p.communicate(timeout=HANGS)[1]   # the second file does not come
        assert p.returncode == 1 and ".claim" in said and units(tmp, attempt) == ROWS // 8 - 1, said
        if sha(files[shard(1)]) in blobs():
            return
    raise AssertionError("the second file was never asked for")


@case(14)
def test_two_runs_at_once(tmp):
    """Two runs that read the same files through one cache fetch each once."""
    host(shards())
    want = reference(tmp)
    HUB.fault("^/repos/", delay=0.15, times=-1)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for r in [pool.submit(run, tmp, work=w) for w in ("a", "b")]:
            r.result()
    got = blobs()
    for path, data in shards().items():
        assert got.count(sha(data)) == 1, (path, got.count(sha(data)))
    assert final(tmp, "a") == want == final(tmp, "b") and not cache_problems(tmp / "home")


@case(33)
def test_offline(tmp):
    """Offline, a run reads as far as the cache goes, and says what it lacks."""
    host(shards())
    run(tmp, "dataset.max_samples=20", work="few")
    fresh()
    run(tmp, "dataset.max_samples=10", work="fewer", HF_HUB_OFFLINE="1")
    said = run(tmp, work="all", code=1, HF_HUB_OFFLINE="1")
    assert shard(1) in said and "not in the cache" in said and "HF_HUB_OFFLINE" in said, said
    assert not HUB.log()
    run(tmp, work="all")
    assert asked() == [shard(i) for i in range(1, SHARDS)]


# ---- revisions ----

@case(16)
def test_revision(tmp):
    first = host(shards())
    other = {shard(i): parquet(rows_of(f"other{i}")) for i in range(SHARDS)}
    second = HUB.add("dataset", DATA, other, branch="b/1")
    for revision, commit in (("b/1", second), (second, second), ("main", first), ("null", first)):
        run(tmp, f"dataset.revision={revision}", "dataset.max_samples=9", work=commit + str(len(revision)))
        tree = manifest(tmp / (commit + str(len(revision))) / "out/final")
        assert tree["runs"][0]["dataset_commit"] == commit
        assert "revision" not in tree["runs"][0]["identity"]["config"]["dataset"]
    assert final(tmp, second + "3") == final(tmp, second + "40")
    said = run(tmp, "dataset.revision=nowhere", work="nowhere", code=1)
    assert "dataset.path" in said and "nowhere" in said and "no such revision" in said, said
    said = run(tmp, "dataset.revision=v1", f"dataset.path={CASE / 'dataset'}", work="local")
    assert "dataset.revision has no effect" in said, said


@case(16)
def test_branch_moves(tmp):
    """Between a start and its resume, and between a run and the next: the message names both commits, and the first goes on."""
    first = host(shards())
    want = reference(tmp)
    want_branch = reference_branch(tmp)
    for layout, want_bytes in (("prefix", want), ("branch", want_branch)):
        host(shards())
        first = HUB.head("dataset", DATA)
        HUB.fault(f"resolve/.*{shard(2)}", status=503, times=-1)
        run(tmp, f"output.layout={layout}", work=layout, home=layout, code=3)
        fresh()
        second = HUB.add("dataset", DATA, {**shards(), shard(4): parquet(rows_of("new"))})
        said = run(tmp, f"output.layout={layout}", work=layout, home=layout, code=1)
        assert first in said and second in said and f"dataset.revision: {first}" in said, said
        assert not asked(), "nothing is fetched for a run that is refused"
        run(tmp, f"output.layout={layout}", f"dataset.revision={first}", work=layout, home=layout)
        same_but_for(tmp / layout / "out/final", tmp / ("reference" if layout == "prefix" else "reference_branch") / "out/final", "dataset_commit")
        before = final(tmp, layout)
        said = run(tmp, f"output.layout={layout}", work=layout, home=layout, code=0 if layout == "prefix" else 1)
        assert first in said and second in said and f"dataset.revision: {first}" in said, said
        if layout == "branch":
            assert final(tmp, layout) == before
        run(tmp, f"output.layout={layout}", f"dataset.revision={first}", work=layout, home=layout)


def reference_branch(tmp):
    run(tmp, "output.layout=branch", work="reference_branch", home="reference")
    fresh()
    return final(tmp, "reference_branch")


@case(16)
def test_same_files_at_another_commit(tmp):
    """A new README moves the branch, but not the rows: a resumed run goes on, a finished one is complete, and the bytes are those
    of the commit that it began with."""
    first = host(shards())
    want = reference(tmp)
    HUB.fault(f"resolve/.*{shard(2)}", status=503, times=-1)
    run(tmp, code=3)
    fresh()
    second = HUB.add("dataset", DATA, {"README.md": b"# Better words\n", **shards()})
    assert first != second
    run(tmp)
    assert asked() == [shard(i) for i in range(2, SHARDS)] and final(tmp) == want
    said = run(tmp)
    assert "nothing to do" in said and final(tmp) == want, said


# ---- plan ----

def test_plan(tmp):
    """`plan` asks for no data; it counts on what is in the cache."""
    host(shards())
    workspace(tmp)

    def plan(*settings, **env):
        args = ["plan", "config.yaml", "--json"]
        for s in [*SETTINGS, *settings]:
            args += ["--set", s]
        p = common.engine(args, cwd=tmp / "work", env=HUB.env(tmp / "home", **env))
        assert p.returncode == 0, p.stderr
        assert not asked()
        return json.loads(p.stdout)

    said = plan("dataset.max_samples=30")
    assert said["examples_at_full_length"] and said["examples"] == 30
    run(tmp, "dataset.max_samples=20")
    fresh()
    said = plan("dataset.max_samples=20")
    assert not said["examples_at_full_length"] and said["examples"] == 20 == said["examples_looked_at"]
    said = plan()
    assert not said["examples_at_full_length"] and said["examples"] is None and said["examples_looked_at"] == ROWS, said
    said = plan("dataset.max_samples=30")
    assert said["examples"] == 30 and said["examples_looked_at"] == ROWS
    fresh()
    run(tmp, work="all")
    fresh()
    assert plan()["examples"] == SHARDS * ROWS
    assert plan("dataset.split=train[50%:]")["examples"] == SHARDS * ROWS // 2


TESTS = [test for name, test in globals().copy().items() if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(finish("hub stream", "hub_stream", TESTS))
