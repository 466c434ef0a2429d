"""qkengine push against the Hub of tests/hub: what readers get, what is sent, that nobody's rows are lost, who may.

Which edge cases each test is about: tests/hub/cases.py.
"""
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

from push_common import (HANGS, HUB, READ_TOKEN, REPO, ROOT, SAID, SMALL, TEMP, TOKEN, seal_manifest, assert_holds, assert_union,
                         capture, commits, download, engine, environment, finish, local_tree,
                         make_workspace, no_token_was_printed, push, pushed, refused, requests, rows_of, small,
                         texts, wait_until, write_jsonl)  # first: it sets the environment of the readers

import pyarrow.parquet as pq
from hub.cases import case


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


def test_of_those_who_share_a_run_one_pushes(folder):
    """And who comes while it pushes neither waits for it nor pushes."""
    HUB.reset()
    make_workspace(folder)
    write_jsonl(folder / "rows.jsonl", texts(0, 200))
    arguments = [ROOT / "qkengine", "run", "config.yaml"]
    for s in ("dataset.path=rows.jsonl", "tokenizer.max_length=null", f"output.hf_repo_id={REPO}", *SMALL):
        arguments += ["--set", s]

    def start():
        return subprocess.Popen(arguments, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True)

    HUB.fault(method="POST", match="/commit/", hold=True)
    running = [start() for _ in range(3)]
    wait_until(lambda: requests("POST", "/commit/"))
    late = start()
    said = late.communicate(timeout=HANGS)[1]
    assert late.returncode == 0 and "another process has merged" in said, said
    assert any(p.poll() is None for p in running), "the push was over before the late one came"
    HUB.release()
    ends = [p.communicate(timeout=HANGS)[1] for p in running]
    SAID.extend([said, *ends])
    assert [p.returncode for p in running] == [0, 0, 0], ends
    assert sum("files sent" in e for e in ends) == 1 and "files sent" not in said, ends
    assert len(commits()) == 2
    assert_holds(folder / "out/final")


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


def test_from_the_hub_to_the_hub(folder):
    """Model and dataset from the Hub, the run, its push, and the rows by load_dataset, as a person would do it."""
    from datasets import load_dataset
    from huggingface_hub import HfApi
    HUB.reset()
    make_workspace(folder)
    api = HfApi(token=TOKEN)
    for kind, name, local in (("model", "tester/tiny", "model"), ("dataset", "tester/texts", "dataset")):
        api.create_repo(name, repo_type=kind)
        api.upload_folder(repo_id=name, repo_type=kind, folder_path=folder / local)
        shutil.rmtree(folder / local)
    counted = 0
    for layout, branch, split in (("prefix", None, "tester_tiny"), ("branch", "smol/1", "train")):
        settings = ["model.name=tester/tiny", "dataset.path=tester/texts", f"output.layout={layout}", f"output.data_root={layout}",
                    f"output.hf_repo_id={REPO}", *([f"output.hf_branch={branch}"] if branch else [])]
        done = engine(["run", "config.yaml", "--quiet", *(a for s in settings for a in ("--set", s))], folder, env=environment())
        SAID.append(done.stderr)
        assert done.returncode == 0, done.stderr
        final = folder / layout / "final"
        assert_holds(final, branch or "main")
        path = next(final.rglob("l00h00q/data.parquet"))
        rows = load_dataset(REPO, "l00h00q", split=split, revision=branch, token=TOKEN, cache_dir=str(folder / "cache"))
        assert rows.to_list() == pq.read_table(path).to_pylist() and len(rows) > 0
        counted += len(rows)
    return f"{counted} rows"


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


@case(43)
def test_folders_of_others_are_left_alone(folder):
    """A run does not clear a folder that is not its own, by whatever name; a push changes nothing but its own state."""
    make_workspace(folder)
    mine = folder / "mine"
    (mine / "final").mkdir(parents=True)
    (mine / "final/thesis.txt").write_text("ten years of work")
    (folder / "link").symlink_to(mine)
    for root in ("mine", "link", "mine/final/..", "mine/final"):
        engine(["run", "config.yaml", "--quiet", "--set", f"output.data_root={root}"], folder)
        assert (mine / "final/thesis.txt").read_text() == "ten years of work", root
    theirs = folder / "theirs/final/l00h00q/data.parquet"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"PAR1 theirs")
    done = engine(["run", "config.yaml", "--quiet", "--set", "output.data_root=theirs", "--set", "output.layout=branch"], folder)
    assert done.returncode == 1 and "another program wrote them" in done.stderr, done.stderr
    assert theirs.read_bytes() == b"PAR1 theirs"
    HUB.reset()
    final = small(folder / "out-final")
    before = local_tree(final)
    pushed(final)
    assert local_tree(final) == before
    assert {p.name for p in final.iterdir()} - {".qkengine"} == {p.split("/")[0] for p in before}


@case(42)
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
    (final / "extra.parquet").write_bytes(b"PAR1 something else")
    HUB.set(verify=False, preupload_oid=False)
    pushed(final)
    assert_holds(final)
    # More objects than were asked for, and a verify address elsewhere: no token goes there.
    (final / "extra.parquet").write_bytes(b"PAR1 and more")
    oid = hashlib.sha256(b"PAR1 and more").hexdigest()
    away = HUB.addresses["storage"] + "/verify"
    HUB.fault(match="objects/batch", json={"objects": [{"oid": "f" * 64, "size": 1}, {"oid": oid, "size": 13, "actions": {
        "upload": {"href": HUB.url + "/_lfs/verify/dataset/x"}, "verify": {"href": away}}}, {"oid": oid, "size": 14}, 7, None]})
    HUB.fault(method="PUT", match="/_lfs/verify/dataset/x", status=200, body="")
    HUB.set(verify=True)
    pushed(final)   # the storage says no; what it is for is asked for again
    assert_holds(final)
    assert [r for r in HUB.log() if r["path"] == "/verify"] and not HUB.leaks()
    canonical = "https://huggingface.co/_lfs/verify/dataset/" + REPO   # a mirror that repeats the original's addresses
    (final / "extra.parquet").write_bytes(b"PAR1 something new")
    oid = hashlib.sha256(b"PAR1 something new").hexdigest()
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
    HUB.fault(method="POST", match="/preupload/", hold=True)
    process = subprocess.Popen([ROOT / "qkengine", "push", final, REPO], env=environment(), stderr=subprocess.DEVNULL)
    wait_until(lambda: requests("POST", "/preupload/"), process)
    HfApi(token=TOKEN).upload_file(repo_id=REPO, repo_type="dataset", path_or_fileobj=b"t", path_in_repo="theirs.txt")
    HUB.release()
    assert process.wait(HANGS) == 0
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
            error = process.communicate(timeout=HANGS)[1]
            SAID.append(error)
            assert process.returncode == 0, error
        moved += len([r for r in requests("POST", "/commit/") if r["status"] == 412])
        total = assert_union(folder / f"cache{i}", *kept)
    assert moved > 0, "the pushes never met"
    return f"5 times {total} rows, {moved} commits came too late and were made anew"


def full_rows(path):
    """{(full id, position): vector} of a file beside its examples.parquet."""
    ids = pq.read_table(path.parents[1] / "examples.parquet")["id"].to_pylist()
    by_stored = {}
    for i in ids:
        by_stored.setdefault((i + (1 << 31)) % (1 << 32) - (1 << 31), set()).add(i)
    known = {}
    for first, n, i in json.loads((pq.read_metadata(path).metadata or {}).get(b"qkengine.shared_ids", b"[]")):
        known.update({row: int(i) for row in range(first, first + n)})
    out, table = {}, pq.read_table(path, columns=["example_id", "position", "vector"])
    for row, (e, p, v) in enumerate(zip(*(table[c].to_pylist() for c in ("example_id", "position", "vector")))):
        assert row in known or len(by_stored[e]) == 1, (row, e)
        key = known.get(row, next(iter(by_stored[e]))), p
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
    # A run adds its rows to such files, too: who has that run, but not those rows, takes none of them away.
    HUB.reset()
    work = folder / "work"
    work.mkdir()
    make_workspace(work)
    write_jsonl(work / "rows.jsonl", texts(3, 9))
    shutil.copytree(theirs, work / "out/final")
    done = engine(["run", "config.yaml", "--quiet", "--set", "dataset.path=rows.jsonl", "--set", "output.layout=prefix"], work)
    assert done.returncode == 0, done.stderr
    pushed(work / "out/final")
    pushed(capture(folder / "again", 3, 9))
    for path in download(folder / "both").rglob("l*/data.parquet"):
        name = path.relative_to(path.parents[2])
        assert rows_of(path) == {**rows_of(theirs / name), **rows_of(kept / name)}, name


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


def test_folder_of_two_layouts(folder):
    """The rows that the branch has of the folder's model would not be joined."""
    HUB.reset()
    theirs, ours, at_root = small(folder / "a", layout="prefix"), small(folder / "b", layout="prefix"), small(folder / "c", layout="branch")
    pushed(theirs)
    before = HUB.tree(REPO)
    shutil.copytree(at_root, ours, dirs_exist_ok=True)
    refused(ours, 1, "holds one run at its root and a folder per model as well (model)")
    assert HUB.tree(REPO) == before


def test_rows_of_another_meaning(folder):
    """Prefix layout: other vectors, or another text under an id, are refused before anything is written or sent."""
    HUB.reset()
    pushed(capture(folder / "a", 0, 4, *SMALL))
    before = HUB.tree(REPO)
    texts_ = texts(2, 6)
    texts_[1]["text"] = "not what row-3 was"
    for name, said, other in (
            ("rope", ["config.capture.capture_pre_rope: false then, true now"], capture(folder / "rope", 2, 6, *SMALL, "capture.capture_pre_rope=true")),
            ("dtype", ["config.model.dtype", "bfloat16"], capture(folder / "dtype", 0, 4, *SMALL, "model.dtype=bfloat16")),
            ("ref", ['arithmetic: "cpu" then, "ref" now'], capture(folder / "ref", 2, 6, *SMALL, "inference.backend=ref")),
            ("text", ["('row-3') stands for two texts", f"example 3 of {REPO}", "example 1 of "], capture(folder / "text", 2, 6, *SMALL, rows=texts_))):
        kept = local_tree(other)
        refused(other, 1, *said, "--branch")
        assert HUB.tree(REPO) == before and local_tree(other) == kept, name
    pushed(capture(folder / "more", 2, 6, *SMALL))
    card = (download(folder / "cache") / "README.md").read_text()
    for run in json.loads((folder / "more/model/manifest.json").read_text())["runs"]:
        assert f"| model | {run['fingerprint'][:12]} | rows.jsonl (train) |" in card, card
    pushed(folder / "rope", "--delete-stale")
    assert_holds(folder / "rope")


def test_another_arithmetic(folder):
    """Branch layout: equal settings are not equal bits."""
    HUB.reset()
    pushed(small(folder / "a"))
    other = small(folder / "b")
    manifest = json.loads((other / "manifest.json").read_text())
    assert manifest["runs"][0]["arithmetic"] == "cpu"
    manifest["runs"][0]["arithmetic"] = "cuda sm_90a"
    (other / "manifest.json").write_text(seal_manifest(manifest))
    before = HUB.tree(REPO)
    refused(other, 1, 'arithmetic: "cpu" then, "cuda sm_90a" now', "--branch")
    assert HUB.tree(REPO) == before
    del manifest["runs"][0]["arithmetic"]     # of an earlier version
    (other / "manifest.json").write_text(seal_manifest(manifest))
    pushed(other)


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


@case(6)
def test_no_token_was_printed(_):
    no_token_was_printed()


TESTS = [test for name, test in globals().copy().items() if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(finish("hub push", "hub_push", TESTS))
