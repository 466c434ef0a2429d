"""qkengine push against the Hub of tests/hub: what readers get, what faults do, that nothing is lost or doubled.

The last lines count the cases of the edge-case list in design/hub.md, section 14, that a test here is about.
"""
import fcntl
import hashlib
import json
import os
import pathlib
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

os.environ.update(HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_PROGRESS_BARS="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from common import ROOT, engine, main, make_workspace, write_jsonl  # noqa: E402
from hub.fixture import READ_TOKEN, TOKEN, Fixture  # noqa: E402

SHARED = tempfile.TemporaryDirectory()
TEMP = pathlib.Path(SHARED.name)
(TEMP / "tls").mkdir()
HUB = Fixture(tls=TEMP / "tls")
os.environ.update(HF_ENDPOINT=HUB.url, HF_HOME=str(TEMP / "reader"))
import pyarrow.parquet as pq  # noqa: E402

REPO = "tester/captures"
SMALL = ["capture.layers=[0]", "capture.heads=[0]"]
FAST = {"QKENGINE_RETRY_MS": "2"}
SAID = []   # everything that qkengine printed: no token may be in it
CASES = {}  # number of an edge case -> tests about it


def case(*numbers):
    def mark(test):
        for n in numbers:
            CASES.setdefault(n, []).append(test.__name__)
        return test
    return mark


# ---- helpers ----

def environment(**more):
    return HUB.environment(TEMP / "home", **{**FAST, **more})


def push(folder, *arguments, repo=REPO, cwd=TEMP, **more):
    done = engine(["push", folder, repo, *arguments], cwd, env=environment(**more), timeout=120)
    SAID.append(done.stdout + done.stderr)
    return done


def pushed(folder, *arguments, **more):
    done = push(folder, *arguments, **more)
    assert done.returncode == 0, done.stderr
    return done


def refused(folder, status, *words, arguments=(), **more):
    done = push(folder, *arguments, **more)
    assert done.returncode == status, (done.returncode, done.stderr)
    for word in words:
        assert word in done.stderr, (word, done.stderr)
    return done


_captures = {}


def texts(first, last):
    words = "the river turns twice before it finds the sea and nobody on the bridge looks down".split()
    return [{"id": f"row-{i}", "text": " ".join(words[(i * k + k) % len(words)] for k in range(20 + i))}
            for i in range(first, last)]


def capture(folder, first=0, last=6, *settings, layout="prefix", rows=None):
    """A copy of the final/ of a run over rows first..last-1; the run itself is made once."""
    key = (first, last, settings, layout, json.dumps(rows))
    if key not in _captures:
        work = TEMP / f"run{len(_captures)}"
        work.mkdir()
        make_workspace(work)
        write_jsonl(work / "rows.jsonl", rows or texts(first, last))
        arguments = ["run", "config.yaml", "--quiet"]
        for s in ["dataset.path=rows.jsonl", f"output.layout={layout}", *settings]:
            arguments += ["--set", s]
        done = engine(arguments, work)
        assert done.returncode == 0, done.stderr
        _captures[key] = work / "out/final"
    shutil.copytree(_captures[key], folder)
    return folder


def small(folder, layout="branch"):
    return capture(folder, 0, 4, *SMALL, layout=layout)


def local_tree(folder):
    """{path: SHA-256 or git blob id} of what a push sends."""
    out = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not path.is_symlink() and not name.startswith(".qkengine"):
            data = path.read_bytes()
            out[name] = (hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())
    return out


def assert_holds(folder, branch="main", repo=REPO, exactly=True):
    there, here = HUB.tree(repo, branch), local_tree(folder)
    for name, oids in here.items():
        assert name in there and there[name][0] in oids, name
    if exactly:
        assert set(there) - {".gitattributes"} == set(here), set(there) ^ set(here)


def commits(branch="main", repo=REPO):
    from huggingface_hub import HfApi
    return [c.title for c in HfApi(token=TOKEN).list_repo_commits(repo, repo_type="dataset", revision=branch)]


def requests(method, word):
    return [r for r in HUB.log() if r["method"] == method and word in r["path"]]


# ---- what readers get ----

@case(42)
def test_rows_for_readers(folder):
    from datasets import load_dataset
    HUB.reset()
    counted = 0
    for layout, split, branch in (("prefix", "model", None), ("branch", "train", "smol/1")):
        final = capture(folder / layout, 0, 6, layout=layout)
        pushed(final, *(["--branch", branch] if branch else []))
        assert_holds(final, branch or "main")
        for path in sorted(final.rglob("l0[03]*/data.parquet")):
            rows = load_dataset(REPO, path.parent.name, split=split, revision=branch, token=TOKEN,
                                cache_dir=str(folder / "cache"))
            assert rows.data.table.equals(pq.read_table(path).cast(rows.data.table.schema)) or \
                rows.to_list() == pq.read_table(path).to_pylist(), path
            counted += len(rows)
    assert ".gitattributes" in HUB.tree(REPO) and not HUB.leaks()
    return f"{counted} rows"


def test_downloaded_by_the_official_client(folder):
    from huggingface_hub import snapshot_download
    HUB.reset()
    final = capture(folder / "final")
    pushed(final)
    got = pathlib.Path(snapshot_download(REPO, repo_type="dataset", token=TOKEN, cache_dir=folder / "cache"))
    for name in local_tree(final):
        assert (got / name).read_bytes() == (final / name).read_bytes(), name


def test_run_pushes_at_its_end(folder):
    HUB.reset()
    make_workspace(folder)
    arguments = ["run", "config.yaml", "--set", f"output.hf_repo_id={REPO}", "--set", "output.private=true"]
    HUB.fault(method="POST", match="/commit/", status=403, times=-1)
    done = engine(arguments, folder, env=environment())
    SAID.append(done.stderr)
    assert done.returncode == 3 and "to go on: qkengine push" in done.stderr, done.stderr
    assert (folder / "out/final/README.md").exists()
    HUB.clear()
    command = shlex.split(done.stderr.split("to go on: ")[1].splitlines()[0])
    assert command[0] == "qkengine" and "--private" in command
    done = engine(command[1:], folder, env=environment())
    assert done.returncode == 0, done.stderr
    assert_holds(folder / "out/final")
    again = engine(arguments, folder, env=environment())   # the run is not repeated, the push finds nothing to do
    assert again.returncode == 0 and "holds this run already" in again.stderr, again.stderr
    assert len(commits()) == 2


@case(41)
def test_new_branch_and_main(folder):
    """main is seeded once, also when it is truly empty; a new branch does not inherit a run."""
    for empty in (False, True):
        HUB.reset()
        HUB.set(empty_main=empty)
        final = small(folder / f"a{empty}")
        pushed(final, "--branch", "one")
        assert set(HUB.tree(REPO)) - {".gitattributes"} == {"README.md"} and len(commits()) == 2
        pushed(small(folder / f"b{empty}"), "--branch", "two")
        assert len(commits()) == 2
    HUB.reset()
    pushed(final)
    other = capture(folder / "other", 0, 4, *SMALL, "capture.sampler.base_rate=2.0", layout="branch")
    pushed(other, "--branch", "two")
    assert_holds(other, "two")


def test_private_and_existing(folder):
    from huggingface_hub import HfApi
    HUB.reset()
    final = small(folder / "final")
    pushed(final, "--private")
    assert HfApi(token=TOKEN).repo_info(REPO, repo_type="dataset").private
    HUB.clear()
    done = pushed(final)
    assert "nothing to do" in done.stderr and not requests("PUT", "") and not requests("POST", ""), HUB.log("")


# ---- what is sent ----

@case(26, 25)
def test_only_what_differs_is_sent(folder):
    HUB.reset()
    final = small(folder / "final")
    (final / "a.bin").write_bytes(b"\0same")
    (final / "b.bin").write_bytes(b"\0same")
    pushed(final)
    assert len([r for r in requests("PUT", "/put/") if hashlib.sha256(b"\0same").hexdigest() in r["path"]]) == 1
    HUB.clear()
    (final / "b.bin").write_bytes(b"\0other")
    pushed(final)
    body = requests("POST", "/commit/")[0]["body"].splitlines()
    assert [json.loads(line)["value"].get("path") for line in body] == [None, "b.bin"], body
    (final / "b.bin").write_bytes(b"\0Other")   # the same size: found by its content or its time
    pushed(final)
    assert_holds(final)


@case(4, 24, 43)
def test_what_is_never_sent(folder):
    HUB.reset()
    final = small(folder / "final")
    (folder / "secret").write_text("do not tell")
    for name in (".env", ".env.local", "sub/.env", "token", "sub/token", ".git/config", ".cache/x", ".sniff_snapshot.json",
                 "half.parquet.tmp"):
        (final / name).parent.mkdir(exist_ok=True)
        (final / name).write_text(f"HF_TOKEN={TOKEN}")
    (final / "link").symlink_to(folder / "secret")
    (final / "linked").symlink_to(folder)
    os.mkfifo(final / "pipe")
    (final / "empty.bin").write_bytes(b"")
    (final / "sp ace").mkdir()
    (final / "sp ace/\u00fc+#%.txt").write_text("\u00e9")
    done = pushed(final)
    sent = set(HUB.tree(REPO)) - {".gitattributes"}
    wanted = {"README.md", "manifest.json", "examples.parquet", "l00h00q/data.parquet", "l00h00k/data.parquet", "empty.bin",
              "sp ace/\u00fc+#%.txt"}
    assert sent == wanted, sent ^ wanted
    assert HUB.tree(REPO)["empty.bin"][2] is False and "link: not pushed" in done.stderr
    pushed(final)
    assert (final / ".qkengine/snapshot.json").exists() and len(commits()) == 2


def test_gitignore_and_stale_files(folder):
    from huggingface_hub import HfApi
    HUB.reset()
    final = small(folder / "final")
    (final / ".gitignore").write_text("*.log\n")
    (final / "a.log").write_text("x")
    pushed(final)
    assert "a.log" not in HUB.tree(REPO)
    HfApi(token=TOKEN).upload_file(repo_id=REPO, repo_type="dataset", path_or_fileobj=b"theirs", path_in_repo="theirs.txt")
    pushed(final)
    assert "theirs.txt" in HUB.tree(REPO)
    pushed(final, "--delete-stale")
    assert "theirs.txt" not in HUB.tree(REPO) and ".gitattributes" in HUB.tree(REPO)


@case(28)
def test_multipart(folder):
    HUB.reset()
    final = small(folder / "final")
    (final / "big.bin").write_bytes(os.urandom(10_500))
    HUB.set(multipart_threshold=1000, chunk=1000)
    pushed(final)
    assert_holds(final)
    sizes = [r["body_length"] for r in requests("PUT", "/part/")]
    assert sizes.count(500) == 1 and not HUB.leaks()
    for i, header in enumerate(({"chunk_size": "0"}, {"chunk_size": "-3"}, {"chunk_size": "x"}, {"chunk_size": "1"},
                                {"chunk_size": "20000000"}, {"chunk_size": "1", "00001": "http://x/"})):
        (final / "more.bin").write_bytes(b"\0%d" % i)
        oid = hashlib.sha256(b"\0%d" % i).hexdigest()
        objects = [{"oid": oid, "size": 2, "actions": {"upload": {"href": HUB.url + "/x", "header": header}}}]
        HUB.fault(match="objects/batch", json={"objects": objects})
        refused(final, 1, "LFS batch")
    pushed(final)
    # A part that fails once; a completion that fails after it has worked; no ETag.
    for fault in ({"method": "PUT", "match": "/part/", "status": 500}, {"match": "/_lfs/complete", "after": "drop"}):
        (final / "big.bin").write_bytes(os.urandom(3_100))
        HUB.fault(**fault)
        pushed(final)
        assert_holds(final)
    (final / "big.bin").write_bytes(os.urandom(3_100))
    HUB.fault(method="PUT", match="/part/", headers={"ETag": None}, times=-1)
    refused(final, 1, "ETag")


@case(27, 29, 41)
def test_batch_replies(folder):
    HUB.reset()
    final = small(folder / "final")
    HUB.fault(match="objects/batch", json={"transfer": "xet"})
    refused(final, 1, "xet")
    HUB.fault(match="objects/batch", json={"objects": []})
    refused(final, 1, "missing from the reply")
    oids = [hashlib.sha256((final / n).read_bytes()).hexdigest() for n in local_tree(final) if n.endswith(".parquet")]
    error = [{"oid": o.upper(), "size": 1, "error": {"code": 422, "message": "too odd"}} for o in oids]
    HUB.fault(match="objects/batch", json={"objects": error})
    refused(final, 1, "too odd", "422")
    HUB.fault(method="PUT", match="/put/", status=403, body="<Error><Code>AccessDenied</Code></Error>", times=3)
    pushed(final)   # fresh URLs
    assert_holds(final)
    (final / "l00h00q/data.parquet").write_bytes(b"PAR1 something else")
    HUB.set(verify=False, preupload_oid=False)
    pushed(final)
    assert_holds(final)
    canonical = "https://huggingface.co/_lfs/verify/dataset/" + REPO   # a mirror that repeats the original's addresses
    (final / "l00h00q/data.parquet").write_bytes(b"PAR1 something new")
    oid = hashlib.sha256(b"PAR1 something new").hexdigest()
    HUB.set(verify=True)
    HUB.fault(match="objects/batch", json={"objects": [{"oid": oid, "size": 18, "actions": {
        "upload": {"href": "https://huggingface.co/nowhere"}, "verify": {"href": canonical}}}]})
    HUB.fault(method="PUT", match="/nowhere", status=403)
    pushed(final)
    assert_holds(final)


# ---- conflicts ----

@case(30)
def test_commit_applied_but_reply_lost(folder):
    for how in ({"after": "drop"}, {"cut": 5}, {"drop": True}, {"status": 500}, {"status": 504}, {"drop": "reset"}):
        HUB.reset()
        final = small(folder / f"f{len(SAID)}")
        pushed(final)
        (final / "more.txt").write_text("more")
        HUB.fault(method="POST", match="/commit/", **how)
        pushed(final)
        assert_holds(final)
        assert len(commits()) == 3, (how, commits())


@case(30)
def test_large_pushes_become_several_commits(folder):
    HUB.reset()
    final = capture(folder / "final")
    HUB.set(commit_limit=5)
    pushed(final)
    assert_holds(final)
    assert len(commits()) > 5
    last = json.loads([r for r in requests("POST", "/commit/") if r["status"] == 200][-1]["body"].splitlines()[-1])
    assert last["value"]["path"] == "README.md", last
    HUB.reset()
    HUB.set(commit_limit=0)
    refused(capture(folder / "b"), 1, "413")


@case(15)
def test_branch_moves_on(folder):
    from huggingface_hub import HfApi
    HUB.reset()
    final = small(folder / "final")
    pushed(final)
    for i, status in enumerate((412, 409, 412)):
        (final / "more.txt").write_text(f"more {i}")
        HUB.fault(method="POST", match="/commit/", status=status)
        pushed(final)
    # A real one: somebody commits between our look and our commit.
    (final / "more.txt").write_text("last")
    HUB.fault(method="POST", match="/preupload/", delay=1.5)
    process = subprocess.Popen([ROOT / "qkengine", "push", final, REPO], env=environment(), stderr=subprocess.DEVNULL)
    time.sleep(0.7)
    HfApi(token=TOKEN).upload_file(repo_id=REPO, repo_type="dataset", path_or_fileobj=b"t", path_in_repo="theirs.txt")
    assert process.wait(60) == 0
    assert_holds(final, exactly=False)
    assert "theirs.txt" in HUB.tree(REPO) and 412 in [r["status"] for r in requests("POST", "/commit/")]


@case(15)
def test_created_by_somebody_else_meanwhile(folder):
    for match, body in (("/api/repos/create", "already created"), ("/branch/", "Reference already exists"),
                        ("/api/repos/create", "Cannot create repo: another conflicting operation is in progress")):
        HUB.reset()
        final = small(folder / f"f{len(SAID)}")
        HUB.fault(method="POST", match=match, status=409, body=json.dumps({"error": body}))
        pushed(final, "--branch", "b")
        assert_holds(final, "b", exactly=False)


def rows_of(path):
    table = pq.read_table(path, columns=["example_id", "position", "vector"])
    return {(e, p): tuple(v) for e, p, v in zip(*(table[c].to_pylist() for c in ("example_id", "position", "vector")))}


def download(folder, branch="main"):
    from huggingface_hub import snapshot_download
    return pathlib.Path(snapshot_download(REPO, repo_type="dataset", revision=branch, token=TOKEN, cache_dir=folder))


def assert_union(folder, *finals):
    """The repository has each row of each folder once, and its indexes say so."""
    there, total = download(folder), 0
    for path in sorted(there.rglob("l*/data.parquet")):
        name, want = path.relative_to(there), {}
        for final in finals:
            want.update(rows_of(final / name) if (final / name).exists() else {})
        got = rows_of(path)
        assert got == want and len(got) == pq.read_metadata(path).num_rows, name
        total += len(got)
    names = {p.relative_to(f) for f in finals for p in f.rglob("l*/data.parquet")}
    assert names == {p.relative_to(there) for p in there.rglob("l*/data.parquet")}
    manifest = json.loads((there / "model/manifest.json").read_text())
    for name, entry in manifest["files"].items():
        path = there / "model" / name / "data.parquet"
        assert entry == {"rows": pq.read_metadata(path).num_rows, "bytes": path.stat().st_size}, name
    ids = set(pq.read_table(there / "model/examples.parquet")["id_text"].to_pylist())
    want = set().union(*(pq.read_table(f / "model/examples.parquet")["id_text"].to_pylist() for f in finals))
    assert ids == want and manifest["examples"] == len(want), (len(ids), len(want))
    return total


def test_rows_are_merged_one_after_the_other(folder):
    from datasets import load_dataset
    HUB.reset()
    a, b = capture(folder / "a", 0, 6), capture(folder / "b", 3, 9, "capture.layers=[0,1]")
    c = capture(folder / "c", 20, 22, "capture.layers=[3]")
    kept = [shutil.copytree(f, folder / f"{f.name}-before") for f in (a, b, c)]
    pushed(a)
    for f in (b, c, a):
        pushed(f)
        before = commits()
        pushed(f)
        assert commits() == before   # what was merged is in the folder: nothing is left to do
    total = assert_union(folder / "cache", *kept)
    first = kept[0] / "model/l00h00q/data.parquet"   # rows that were there first stay in front
    assert pq.read_table(download(folder / "cache") / "model/l00h00q/data.parquet").slice(
        0, pq.read_metadata(first).num_rows).equals(pq.read_table(first))
    rows = load_dataset(REPO, "l00h00q", split="model", token=TOKEN, cache_dir=str(folder / "datasets"))
    assert len(rows) == pq.read_metadata(a / "model/l00h00q/data.parquet").num_rows
    assert len(json.loads((a / "model/manifest.json").read_text())["runs"]) == 3
    return f"{total} rows"


@case(15)
def test_two_pushers_at_once_lose_no_rows(folder):
    moved = 0
    for i in range(5):
        HUB.reset()
        HUB.set(commit_limit=(1 << 62, 7, 4)[i % 3])
        a, b = capture(folder / f"a{i}", 0, 6), capture(folder / f"b{i}", 3, 9)
        kept = [shutil.copytree(f, folder / f"{f.name}-before") for f in (a, b)]
        start = [subprocess.Popen([ROOT / "qkengine", "push", f, REPO], env=environment(), stderr=subprocess.PIPE, text=True)
                 for f in (a, b)]
        for process in start:
            error = process.communicate(timeout=120)[1]
            SAID.append(error)
            assert process.returncode == 0, error
        moved += len([r for r in requests("POST", "/commit/") if r["status"] == 412])
        total = assert_union(folder / f"cache{i}", *kept)
    assert moved > 0, "the pushes never met"
    return f"5 times {total} rows, {moved} commits came too late and were made anew"


def full_rows(path):
    """{(full id, position): vector} of a file beside its examples.parquet."""
    ids = pq.read_table(path.parents[1] / "examples.parquet")["id"].to_pylist()
    book = {}
    for i in ids:
        book.setdefault((i + (1 << 31)) % (1 << 32) - (1 << 31), set()).add(i)
    known = {}
    for first, n, i in json.loads((pq.read_metadata(path).metadata or {}).get(b"qkengine.shared_ids", b"[]")):
        known.update({row: int(i) for row in range(first, first + n)})
    out, table = {}, pq.read_table(path, columns=["example_id", "position", "vector"])
    for row, (e, p, v) in enumerate(zip(*(table[c].to_pylist() for c in ("example_id", "position", "vector")))):
        assert row in known or len(book[e]) == 1, (row, e)
        key = known.get(row, next(iter(book[e]))), p
        assert key not in out, key
        out[key] = tuple(v)
    return out


def test_ids_that_share_their_low_32_bits(folder):
    """Full ids decide, also in files that only one side has."""
    HUB.reset()
    said = [row["text"] for row in texts(0, 6)]
    large = 1 << 32
    sides = {"a": [1, 2, 3], "b": [large + 1, 2, large + 7], "c": [1, large + 1, 7]}
    folders, want = {}, {}
    for number, (side, ids) in enumerate(sides.items()):
        rows = [{"id": i, "text": said[i % large % 6]} for i in ids]
        layers = f"capture.layers=[0,{number + 1}]"
        folders[side] = capture(folder / side, 0, 3, layers, "capture.heads=[0]", rows=rows)
        for path in folders[side].rglob("l*/data.parquet"):
            want.setdefault(path.parent.name, {}).update(full_rows(path))
    for side in ("a", "b", "c", "a", "b"):
        pushed(folders[side])
    for path in download(folder / "cache").rglob("l*/data.parquet"):
        assert full_rows(path) == want.pop(path.parent.name), path
    assert not want


def test_files_of_another_program(folder):
    """Data without manifest.json and examples.parquet: rows are compared by what the files store."""
    from huggingface_hub import HfApi
    HUB.reset()
    theirs, ours = capture(folder / "theirs", 0, 6), capture(folder / "ours", 3, 9)
    for name in ("manifest.json", "examples.parquet"):
        (theirs / "model" / name).unlink()
    api = HfApi(token=TOKEN)
    api.create_repo(REPO, repo_type="dataset")
    api.upload_folder(repo_id=REPO, repo_type="dataset", folder_path=theirs)
    kept = shutil.copytree(ours, folder / "before")
    pushed(ours)
    for path in download(folder / "cache").rglob("l*/data.parquet"):
        name = path.relative_to(path.parents[2])
        assert rows_of(path) == {**rows_of(theirs / name), **rows_of(kept / name)}, name
    before = commits()
    pushed(ours)
    assert commits() == before


@case(8, 9, 12, 16, 29)
def test_faults_while_merging(folder):
    """What comes from the branch is checked like everything else; the folder changes only as a whole."""
    faults = {"corrupt": {"corrupt": True}, "cut": {"cut": 100}, "drop": {"drop": True}, "expired": {"status": 403},
              "500": {"status": 500}, "gzip": {"gzip": True}, "html": {"html": True}}
    base, more = capture(folder / "base", 0, 4, *SMALL), capture(folder / "more", 2, 6, *SMALL)
    statuses = {}
    for name, fault in faults.items():
        for times in (1, -1):
            HUB.reset()
            pushed(base)
            HUB.clear()
            final = shutil.copytree(more, folder / "final")
            HUB.fault(origin="storage", method="GET", match="/repos/", times=times, **fault)
            first = push(final)
            assert first.returncode in (0, 1, 3) and (times == 1 or first.returncode), (name, times, first.stderr)
            if first.returncode:
                assert local_tree(final) == local_tree(more), name
                HUB.clear()
                pushed(final)
            statuses[first.returncode] = statuses.get(first.returncode, 0) + 1
            assert_union(folder / f"cache-{name}{times}", base, more)
            for r in requests("GET", "/resolve/") + requests("GET", "/tree/"):
                assert len(r["path"].split("/resolve/" if "/resolve/" in r["path"] else "/tree/")[1].split("?")[0].split("/")[0]) == 40
            shutil.rmtree(final)
    return f"{2 * len(faults)} faults, exit statuses {statuses}"


def test_kill_while_merging(folder):
    random.seed(11)
    base, more = capture(folder / "base", 0, 6), capture(folder / "more", 3, 9)
    kept = [shutil.copytree(f, folder / f"{f.name}-before") for f in (base, more)]
    HUB.reset()
    pushed(base)
    start = time.monotonic()
    pushed(shutil.copytree(more, folder / "undisturbed"))
    duration, want = time.monotonic() - start, HUB.tree(REPO)
    killed = 0
    for i in range(20):
        HUB.reset()
        pushed(base)
        final = shutil.copytree(more, folder / f"f{i}")
        process = subprocess.Popen([ROOT / "qkengine", "push", final, REPO], env=environment(), stderr=subprocess.DEVNULL)
        time.sleep(random.random() * duration)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        pushed(final)
        assert HUB.tree(REPO) == want, i
        shutil.rmtree(final)
    assert killed >= 10
    assert_union(folder / "cache", *kept)
    return f"{killed} pushes killed"


def test_other_models_in_the_repository(folder):
    """A split that only the branch has stays, and README.md lists it too."""
    from datasets import load_dataset
    HUB.reset()
    a, b = small(folder / "a", layout="prefix"), small(folder / "b", layout="prefix")
    (b / "model").rename(b / "another")
    pushed(a)
    pushed(b)
    tree = HUB.tree(REPO)
    assert "model/l00h00q/data.parquet" in tree and "another/l00h00q/data.parquet" in tree
    for split in ("model", "another"):
        rows = load_dataset(REPO, "l00h00q", split=split, token=TOKEN, cache_dir=str(folder / "cache"))
        assert len(rows) == pq.read_metadata(a / "model/l00h00q/data.parquet").num_rows
    before = commits()
    pushed(a)
    pushed(b)
    assert commits() == before


def test_branch_layout_takes_equal_settings_only(folder):
    HUB.reset()
    pushed(small(folder / "a"))
    pushed(small(folder / "same"))
    other = capture(folder / "b", 0, 4, *SMALL, "capture.sampler.base_rate=2.0", layout="branch")
    before = HUB.tree(REPO)
    refused(other, 1, "base_rate", "--branch")
    assert HUB.tree(REPO) == before
    refused(small(folder / "prefix", layout="prefix"), 1, "one run at its root")
    pushed(other, "--delete-stale")
    assert_holds(other)


# ---- who may, and what must stay secret ----

@case(31, 32, 34)
def test_access(folder):
    HUB.reset()
    final = small(folder / "final")
    done = engine(["push", final, REPO], TEMP, env=HUB.environment(TEMP / "home", token=None))
    assert done.returncode == 1 and "HF_TOKEN" in done.stderr
    refused(final, 1, "token", "not valid", token="hf_wrong")
    refused(final, 1, "403", token=READ_TOKEN)
    pushed(final)
    refused(final, 0, token=READ_TOKEN)   # nothing to do needs no right to write
    (final / "x.txt").write_text("x")
    done = refused(final, 1, "write", token=READ_TOKEN)
    assert "not exist" not in done.stderr
    HUB.repository("dataset", REPO, set={"disabled": True})
    refused(final, 1, "disabled")
    HUB.repository("dataset", REPO, set={"disabled": False})
    HUB.clear()
    HUB.fault(match="/revision/", status=403, headers={"X-Error-Code": "GatedRepo"}, times=-1)
    refused(final, 1, "gated")
    assert not requests("POST", "/create")
    HUB.clear()
    HUB.repository("dataset", REPO, rename="tester/elsewhere")
    pushed(final)
    assert_holds(final, repo="tester/elsewhere")
    for name in ("noowner", "a/b/c", "a/../b", "a--b/c"):
        assert push(final, repo=name).returncode == 1
    for branch in ("../x", "a b", "x.lock", ""):
        assert push(final, "--branch", branch).returncode == 1, branch


@case(5, 19)
def test_redirects(folder):
    storage = HUB.addresses["storage"]
    for match in ("/revision/", "/tree/", "/preupload/", "objects/batch", "/commit/"):
        HUB.reset()
        final = small(folder / f"f{len(SAID)}")
        (final / "x.txt").write_text("x")
        HUB.fault(match=match, redirect=storage + "/elsewhere", times=-1)
        assert push(final).returncode in (1, 3)
        HUB.clear()
        HUB.fault(match=match, redirect="loop", times=-1)
        assert push(final).returncode in (1, 3)
        HUB.clear()
        HUB.fault(match=match, redirect="file:///etc/passwd", times=-1)
        assert push(final).returncode in (1, 3)
        assert not HUB.leaks(), match
        HUB.clear()
        pushed(final)
        assert_holds(final)


@case(5, 20, 22, 1)
def test_hostile_listing(folder):
    HUB.reset()
    final = small(folder / "final")
    pushed(final)
    (final / "x.txt").write_text("x")
    HUB.fault(match="/tree/", headers={"Link": f'<{HUB.addresses["storage"]}/tree?x>; rel="next"'})
    refused(final, 1, "another server")
    assert not HUB.leaks()
    HUB.fault(match="/revision/", json={"sha": "../../../etc"})
    refused(final, 1, "no commit")
    HUB.fault(match="/revision/", html=True)
    assert push(final).returncode == 1
    for name in ("../../evil", "a/../../evil", "/abs", "C:\\x", "nul\0", "a//b", "README.md/x"):
        HUB.reset()
        pushed(final)
        HUB.repository("dataset", REPO, plant=[name])
        done = push(final)
        assert done.returncode == 1 and not (folder / "evil").exists(), (name, done.stderr)
    HUB.reset()
    pushed(final)
    for page in (1, 2):
        (final / "x.txt").write_text(f"page {page}")
        HUB.set(page=page)
        pushed(final)
    pushed(final)


@case(7)
def test_tls(folder):
    HUB.reset()
    final = small(folder / "final")
    ca = str(TEMP / "tls/ca.pem")
    assert push(final, HF_ENDPOINT=HUB.addresses["tls"], SSL_CERT_FILE=ca).returncode == 0
    HUB.clear()
    for address, words in (("tls", "certificate"), ("tls_wrong_host", "certificate"), ("tls_expired", "certificate")):
        more = {} if address == "tls" else {"SSL_CERT_FILE": ca}
        done = push(final, HF_ENDPOINT=HUB.addresses[address], **more)
        assert done.returncode == 1 and words in done.stderr.lower(), (address, done.returncode, done.stderr)
    assert not HUB.log()


@case(33)
def test_offline(folder):
    HUB.reset()
    done = push(small(folder / "f"), HF_HUB_OFFLINE="1")
    assert done.returncode in (1, 3) and "offline" in done.stderr.lower() and not HUB.log(), done.stderr


@case(39)
def test_requests_are_plain(folder):
    """No Expect, no chunked upload, one agent, tokens at the hub only."""
    HUB.reset()
    final = small(folder / "final")
    (final / "big.bin").write_bytes(os.urandom(3 << 20))
    pushed(final)
    for r in HUB.log():
        headers = {k.lower(): v for k, v in r["headers"].items()}
        assert "expect" not in headers and "transfer-encoding" not in headers, r
        assert ("authorization" in headers) == (r["origin"] == "hub"), r["path"]
    assert requests("PUT", "/put/")[0]["headers"].get("Content-Type") is None


# ---- interruptions ----

@case(25)
def test_file_changes_while_it_is_sent(folder):
    for i, change in enumerate((b"PAR1 shorter", b"\0" * 300_000, b"\1" * 200_000)):
        HUB.reset()
        final = small(folder / f"final{i}")
        (final / "large.bin").write_bytes(b"\0" * 200_000)
        HUB.fault(method="PUT", match="/put/", delay=1.0, times=-1)
        process = subprocess.Popen([ROOT / "qkengine", "push", final, REPO], env=environment(), stderr=subprocess.PIPE,
                                   text=True)
        while not requests("PUT", "/put/"):
            time.sleep(0.05)
        (final / "large.bin").write_bytes(change)
        error = process.communicate(timeout=60)[1]
        SAID.append(error)
        assert process.returncode == 3 and "changes while it is pushed" in error and "to go on" in error, error
        assert not requests("POST", "/commit/")
        HUB.clear()
        pushed(final)
        assert_holds(final)


@case(38, 14)
def test_signals_and_second_push(folder):
    HUB.reset()
    final = small(folder / "final")
    HUB.fault(method="PUT", match="/put/", delay=5, times=-1)
    process = subprocess.Popen([ROOT / "qkengine", "push", final, REPO, "--branch", "b"],
                               env=environment(), stderr=subprocess.PIPE, text=True)
    time.sleep(0.8)
    refused(final, 1, "working here")
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 3 and f"to go on: qkengine push {final} {REPO} --branch b" in error, error
    assert time.monotonic() - start < 4 and not requests("POST", "/commit/b")
    HUB.clear()
    pushed(final, "--branch", "b")
    assert_holds(final, "b")
    # A run that works on the folder holds its push off.
    (folder / "staging").mkdir()
    with open(folder / "staging/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(final, 1, "another run is working here")
    pushed(final)


def test_kill_at_50_random_moments(folder):
    """SIGKILL, then a rerun: the repository is as after an undisturbed push."""
    def slow():
        HUB.reset()
        HUB.set(commit_limit=4, delay=0.002)
        HUB.fault(method="POST", match="/commit/", delay=0.05, times=-1)

    random.seed(7)
    slow()
    source = capture(folder / "source", 0, 6, "capture.layers=[0,1]")
    start = time.monotonic()
    pushed(shutil.copytree(source, folder / "undisturbed"))
    duration, want = time.monotonic() - start, HUB.tree(REPO)
    killed = partly = 0
    for i in range(50):
        slow()
        final = shutil.copytree(source, folder / f"f{i}")
        process = subprocess.Popen([ROOT / "qkengine", "push", final, REPO], env=environment(), stderr=subprocess.DEVNULL)
        time.sleep(random.random() * duration)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        try:
            partly += 1 < len(HUB.tree(REPO)) < len(want)
        except Exception:
            pass   # killed before the repository was there
        pushed(final)
        assert HUB.tree(REPO) == want, i
        assert local_tree(final) == local_tree(source)
        shutil.rmtree(final)
    assert killed >= 30 and partly >= 3, (killed, partly)
    return f"{killed} pushes killed, {partly} of them between two commits"


# ---- faults at every request ----

KINDS = {
    "repository": ("GET", r"/revision/main$"), "create": ("POST", "/api/repos/create"), "main tree": ("GET", "/tree/"),
    "front page": ("POST", "/commit/main"), "branch": ("POST", "/branch/"), "branch head": ("GET", r"/revision/b$"),
    "yaml": ("POST", "/validate-yaml"), "preupload": ("POST", "/preupload/"), "batch": ("POST", "objects/batch"),
    "put": ("PUT", "/put/"), "part": ("PUT", "/part/"), "completion": ("POST", "/_lfs/complete"),
    "verify": ("POST", "/_lfs/verify"), "commit": ("POST", "/commit/b$"),
}
PASSING = {   # faults after which the same push must succeed
    "drop": {"drop": True}, "reset": {"drop": "reset"}, "lost reply": {"after": "drop"}, "cut reply": {"cut": 1},
    "429 window": {"status": 429, "headers": {"RateLimit": '"api";r=0;t=1'}},
    "429 retry-after": {"status": 429, "headers": {"Retry-After": "1"}}, "429": {"status": 429},
    "500": {"status": 500}, "503": {"status": 503}, "504": {"status": 504},
}
ENDING = {    # faults that may end it, with a message; the next push must succeed
    "401": {"status": 401}, "403": {"status": 403}, "404": {"status": 404}, "409": {"status": 409}, "412": {"status": 412},
    "413": {"status": 413}, "html": {"html": True}, "garbage": {"status": 200, "body": "{]", "type": "application/json"},
    "loop": {"redirect": "loop"},
}


@case(8, 18, 30, 38)
def test_faults_at_every_request(folder):
    source = small(folder / "source")
    (source / "big.bin").write_bytes(b"\0" * 3000)
    statuses = {}
    for kind, (method, match) in KINDS.items():
        for name, fault in {**PASSING, **ENDING}.items():
            HUB.reset()
            HUB.set(multipart_threshold=2500 if kind in ("part", "completion") else 1 << 62, chunk=1000)
            final = shutil.copytree(source, folder / "final")
            HUB.fault(method=method, match=match, **fault)
            first = push(final, "--branch", "b")
            hit = [r for r in HUB.log() if r.get("fault")]
            assert hit, (kind, name)
            statuses[first.returncode] = statuses.get(first.returncode, 0) + 1
            if name in PASSING:
                assert first.returncode == 0, (kind, name, first.stderr)
            assert first.returncode in (0, 1, 3), (kind, name, first.returncode, first.stderr)
            assert first.returncode == 0 or "error" in first.stderr, (kind, name, first.stderr)
            if first.returncode == 3:
                assert "to go on: qkengine push" in first.stderr, (kind, name, first.stderr)
            if first.returncode:
                pushed(final, "--branch", "b")
            assert HUB.tree(REPO, "b").keys() - {".gitattributes"} == set(local_tree(source)), (kind, name)
            assert_holds(final, "b")
            want = 4 if (kind, name) == ("commit", "413") else 3   # that one is split
            assert len(commits("b")) == want, (kind, name, commits("b"))
            assert not HUB.leaks(), (kind, name)
            shutil.rmtree(final)
    total = len(KINDS) * (len(PASSING) + len(ENDING))
    return f"{total} faults ({len(KINDS)} requests, {len(PASSING) + len(ENDING)} faults); exit statuses {statuses}"


def test_lasting_faults_end_in_time(folder):
    """A server that stays down: status 3, the command to go on, and no endless loop."""
    HUB.reset()
    final = small(folder / "final")
    for kind, (method, match) in KINDS.items():
        if kind in ("part", "completion"):
            continue
        for fault in ({"status": 503}, {"drop": True}):
            HUB.reset()
            HUB.fault(method=method, match=match, times=-1, **fault)
            done = refused(final, 3, "to go on: qkengine push", arguments=["--branch", "b"])
            assert len(HUB.log()) < 400, (kind, len(HUB.log()))
    HUB.reset()
    HUB.fault(match="/preupload/", status=429, headers={"RateLimit": '"api";r=0;t=4000'}, times=-1)
    refused(final, 3, "wait")
    assert len(requests("POST", "/preupload/")) == 1
    dead = dict(os.environ, HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN=TOKEN, HF_HOME=str(TEMP / "home"), **FAST)
    done = engine(["push", final, REPO], TEMP, env=dead)
    assert done.returncode == 3 and "to go on" in done.stderr, done.stderr


@case(6)
def test_no_token_was_printed(_):
    assert len(SAID) > 100
    for text in SAID:
        for secret in (TOKEN, READ_TOKEN, "hf_wrong", "X-Amz-Signature=", "Bearer"):
            assert secret not in text, text
    assert not any(TOKEN in p.read_text(errors="replace") for p in TEMP.rglob(".qkengine/*") if p.is_file())


TESTS = [test for name, test in globals().copy().items() if name.startswith("test_")]

if __name__ == "__main__":
    chosen = [t for t in TESTS if not sys.argv[1:] or any(w in t.__name__ for w in sys.argv[1:])]
    status = main("hub push", chosen)
    print(f"edge cases of hub.md section 14 with a test here: {len(CASES)} ({', '.join(map(str, sorted(CASES)))})")
    HUB.__exit__()
    sys.exit(status)
