"""Shared by hub_push.py and hub_push_faults.py: the fixture, captures to push, what a repository must hold then."""
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="0", HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_PROGRESS_BARS="1",
                  HF_DATASETS_DISABLE_PROGRESS_BARS="1")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from common import HANGS, ROOT, engine, main, make_workspace, seal_manifest, wait_until, words_asked, write_jsonl  # noqa: E402
from hub import cases  # noqa: E402
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
FULL = "--full" in sys.argv   # more rounds of what is random
SAID = []   # everything that qkengine printed: no token may be in it


# ---- helpers ----

def environment(**more):
    return HUB.environment(TEMP / "home", **{**FAST, **more})


def push(folder, *arguments, repo=REPO, cwd=TEMP, **more):
    done = engine(["push", folder, repo, *arguments], cwd, env=environment(**more), timeout=HANGS)
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
        assert entry == {"rows": pq.read_metadata(path).num_rows, "bytes": path.stat().st_size,
                         "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}, name
    examples = (there / "model/examples.parquet").read_bytes()
    assert manifest["examples_file"] == {"bytes": len(examples), "sha256": hashlib.sha256(examples).hexdigest()}
    ids = set(pq.read_table(there / "model/examples.parquet")["id_text"].to_pylist())
    want = set().union(*(pq.read_table(f / "model/examples.parquet")["id_text"].to_pylist() for f in finals))
    assert ids == want and manifest["examples"] == len(want), (len(ids), len(want))
    return total


def no_token_was_printed():
    assert len(SAID) > 20
    for text in SAID:
        for secret in (TOKEN, READ_TOKEN, "hf_wrong", "X-Amz-Signature=", "Bearer"):
            assert secret not in text, text
    assert not any(TOKEN in p.read_text(errors="replace") for p in TEMP.rglob(".qkengine/*") if p.is_file())


def finish(title, suite, tests):
    """Runs those that the command line names, or all; the exit status."""
    status = main(title, tests)
    cases.say()
    if not words_asked():
        cases.keep(suite)
    HUB.__exit__()
    return status
