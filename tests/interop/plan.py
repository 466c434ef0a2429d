#!/usr/bin/env python3
"""What `plan` says of time, units, disk, results and the Hub, and what `run` says of them at its start. That a time is right is no matter of
a test: here it is that the probe of the machine goes through whatever shapes a model has, and says something of them.

usage: plan.py
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from common import CASE, ROOT, digest, engine, main, make_workspace, refused, write_jsonl  # noqa: E402
from hub.fixture import READ_TOKEN, TOKEN, Fixture  # noqa: E402

PROBED = {"device", "seconds_forward", "product_flops_per_second", "attention_flops_per_second", "disk_free_bytes", "data_root_writable"}
REPO = "tester/captures"


def sets(*settings):
    return [word for s in settings for word in ("--set", s)]


def plan(folder, *settings, flags=(), **more):
    done = engine(["plan", "config.yaml", "--json", *flags, *sets(*settings)], folder, **more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def table(folder, *settings, flags=(), **more):
    """{first word: the rest} of the lines."""
    done = engine(["plan", "config.yaml", *flags, *sets(*settings)], folder, **more)
    assert done.returncode == 0, done.stderr
    return {line.split()[0]: line.split(None, 1)[1] for line in done.stdout.splitlines()}


def members(folder):
    """What is measured is there with the probe and null without it; the rest is the same."""
    make_workspace(folder)
    probed, first, second = plan(folder), plan(folder, flags=["--no-probe"]), plan(folder, flags=["--no-probe"])
    assert first == second and probed.keys() == first.keys(), (first, second)
    assert all(first[k] is None and probed[k] is not None for k in PROBED), (first, probed)
    assert {k: v for k, v in probed.items() if k not in PROBED} == {k: v for k, v in first.items() if k not in PROBED}
    assert probed["units"] == -(-probed["examples"] // probed["unit_examples"]) and probed["units_finished"] == 0 and not probed["in_final"]
    assert probed["peak_bytes"] == probed["staging_bytes"] + probed["final_bytes"] > 0
    assert not (folder / "out").exists()   # a plan makes nothing
    lines = table(folder)
    assert "FLOP/s of products" in lines["time"] and "measured now" in lines["time"] and "are free in ." in lines["disk"], lines
    lines = table(folder, flags=["--no-probe"])
    assert "time" not in lines and "are free" not in lines["disk"], lines


MOE = {"model_type": "qwen3_moe", "hidden_size": 40, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10,
       "vocab_size": 300, "intermediate_size": 56, "moe_intermediate_size": 24, "num_experts": 5, "num_experts_per_tok": 2,
       "decoder_sparse_step": 1, "norm_topk_prob": True, "mlp_only_layers": [1], "rope_theta": 10000.0, "rms_norm_eps": 1e-6,
       "max_position_embeddings": 4096, "hidden_act": "silu", "tie_word_embeddings": False}
# wide enough that the probe takes a part of each tensor
WIDE = {"model_type": "llama", "hidden_size": 33000, "num_hidden_layers": 2, "num_attention_heads": 512, "num_key_value_heads": 4, "head_dim": 258,
        "vocab_size": 300, "intermediate_size": 66000, "rms_norm_eps": 1e-6, "max_position_embeddings": 4096, "hidden_act": "silu",
        "tie_word_embeddings": False}


def shapes(folder):
    """Experts, dense layers among them, windows, odd sizes; each number format on each backend that computes here."""
    make_workspace(folder)
    models = {p.name: p / "model" for p in sorted((ROOT / "tests/data/forward").iterdir())}
    for name, config in (("moe", MOE), ("wide", WIDE)):
        models[name] = folder / name
        models[name].mkdir()
        (models[name] / "config.json").write_text(json.dumps(config))
    seen = 0
    for name, model in models.items():
        for dtype in ("float32", "bfloat16", "float16"):
            for backend in ("cpu", "ref") if name != "wide" else ("cpu",):
                for length in (1, 37) if name != "wide" else (3,):
                    got = plan(folder, f"model.name={model}", "model.config_overrides=null", "dataset.path=absent", "dataset.max_samples=1",
                               f"tokenizer.max_length={length}", f"model.dtype={dtype}", f"inference.backend={backend}", "inference.threads=2",
                               "capture.layers=null", "capture.heads=null")
                    assert got["seconds_forward"] > 0 and got["product_flops_per_second"] > 0 and got["attention_flops_per_second"] > 0, (name, got)
                    seen += 1
    got = plan(folder, f"model.name={models['moe']}", "dataset.path=absent", "dataset.max_samples=1", "tokenizer.max_length=9", "capture.layers=[0]",
               "capture.heads=null", "inference.backend=cpu")
    assert got["seconds_forward"] > 0 and got["attention_flops_per_second"] is None   # only q and k of one layer
    return f"{seen} shapes"


def no_device(folder):
    """A device that cannot be opened is no error of a plan: it says why."""
    make_workspace(folder)
    lines = table(folder, "inference.backend=cuda", env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert lines["time"].startswith("-: ") and len(lines["time"]) > 10, lines
    got = plan(folder, "inference.backend=cuda", env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert got["device"] is None and got["seconds_forward"] is None and got["disk_free_bytes"] > 0, got


def weights_read_again(folder):
    make_workspace(folder)
    lines = table(folder, "inference.layers_in_memory=2", "capture.layers=null")
    assert "reading" in lines["time"] and "weights for each of" in lines["time"], lines


def disk(folder):
    """Too little of it is a warning, of a plan and at the start of a run, which goes on."""
    make_workspace(folder)
    library = folder / "small_disk.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, ROOT / "tests/tools/small_disk.c"], check=True)
    need = plan(folder)["peak_bytes"]
    for free, warns in ((need / 2, True), (need * 2, False)):
        env = {**os.environ, "LD_PRELOAD": str(library), "SMALL_DISK": str(int(free))}
        shutil.rmtree(folder / "out", ignore_errors=True)
        for command in ("plan", "run"):
            done = engine([command, "config.yaml"], folder, env=env)
            assert done.returncode == 0 and ("will be needed at once" in done.stderr) == warns, (command, done.stderr)
    assert not table(folder, "output.data_root=config.yaml")["disk"].startswith("-")
    assert plan(folder, "output.data_root=config.yaml/deeper")["data_root_writable"] is False
    done = engine(["plan", "config.yaml", *sets("output.data_root=config.yaml")], folder)
    assert "config.yaml is a file, and no folder" in done.stderr and "this user" not in done.stderr, done.stderr
    for path in ("a/b//c/", "./a", "/no/such", "."):
        assert plan(folder, f"output.data_root={path}")["disk_free_bytes"] > 0, path


def results(folder):
    """Finished units, those of other settings, and a run that is in final/ already; nothing is touched."""
    make_workspace(folder)
    write_jsonl(folder / "rows.jsonl", [{"id": i, "text": f"the river {i} turns " * (1 + i % 7)} for i in range(200)])
    rows = ["dataset.path=rows.jsonl", "tokenizer.max_length=null"]
    done = engine(["run", "config.yaml", "--quiet", "--shard", "1/2", *sets(*rows)], folder)
    assert done.returncode == 0, done.stderr
    finished = len(list((folder / "out/staging").glob("*.qku")))
    before = digest(folder / "out")
    got = plan(folder, *rows)
    assert got["units_finished"] == finished > 0 and got["units"] > finished and not got["in_final"], got
    assert table(folder, *rows)["resumes"] == f"{finished} of {got['units']} units are finished"
    other = table(folder, *rows, "model.dtype=bfloat16")["resumes"]
    assert other.startswith(f"not: staging holds {finished} unit") and "dtype" in other, other
    assert digest(folder / "out") == before
    assert engine(["run", "config.yaml", "--quiet", *sets(*rows)], folder).returncode == 0
    before = digest(folder / "out")
    got = plan(folder, *rows)
    assert got["in_final"] and got["units_finished"] == 0, got
    assert "a run of these settings already" in table(folder, *rows)["holds"]
    assert "holds" not in table(folder, *rows, "capture.sampler.base_rate=3.0")
    assert digest(folder / "out") == before
    (folder / "out/final/model/manifest.json").write_text("{}")
    done = engine(["plan", "config.yaml", *sets(*rows)], folder)
    assert done.returncode == 0 and "manifest.json" in done.stderr, done.stderr


def said_of_the_hub(hub, folder, command, *settings, token=TOKEN, flags=(), **more):
    done = engine([command, "config.yaml", *flags, *sets(f"output.hf_repo_id={REPO}", *settings)], folder,
                  env=hub.environment(folder / "home", token=token, **{"HF_HUB_OFFLINE": "0", **more}))
    for secret in (TOKEN, READ_TOKEN):
        assert secret not in done.stdout + done.stderr
    return done


def impossible(hub, folder):
    """(what `plan` and `run` say, settings, how)"""
    fine = {"type": "access_token", "accessToken": {"role": "fineGrained", "fineGrained": {"scoped": [
        {"entity": {"type": "user", "name": "tester"}, "permissions": ["repo.content.read"]}]}}}
    for words, settings, how, who in (
            ("a push needs a token; set HF_TOKEN to a token that may write", [], {"token": None}, {}),
            ("the token is not valid", [], {"token": "hf_nobody"}, {}),
            ("the token of 'reader' may only read", [], {"token": READ_TOKEN}, {}),
            ("the token of 'tester' may only read", [], {}, {"auth": fine}),
            ("captures: no owner in the name; write owner/name", ["output.hf_repo_id=captures"], {}, {}),
            ("'me/a b' is not the name of a Hub repository", ["output.hf_repo_id=me/a b"], {}, {}),
            ("'a..b' is not the name of a revision", ["output.hf_branch=a..b"], {}, {})):
        hub.set(who=who)
        yield words, settings, how
    hub.set(who={})


def push_that_cannot_be(folder):
    """Status 1 before a weight is read, which here are absent; for a share a warning, and no question."""
    make_workspace(folder)
    write_jsonl(folder / "rows.jsonl", [{"id": i, "text": f"the river {i} turns"} for i in range(200)])
    share = ["dataset.path=rows.jsonl", "tokenizer.max_length=null"]   # of several units
    with Fixture() as hub:
        for words, settings, how in impossible(hub, folder):
            done = said_of_the_hub(hub, folder, "plan", *settings, **how)
            assert done.returncode == 0 and "cannot be: " in done.stdout and words in done.stdout, (words, done.stdout, done.stderr)
            done = said_of_the_hub(hub, folder, "run", "model.name=absent", *settings, **how)
            refused(done, "output.hf_repo_id: ", words.split(";")[0], "\n")
            assert "absent" not in done.stderr, done.stderr
        hub.clear()
        done = said_of_the_hub(hub, folder, "run", *share, flags=["--shard", "0/2"], token=None)
        assert done.returncode == 0 and "warning: output.hf_repo_id: a push needs a token" in done.stderr, done.stderr
        done = said_of_the_hub(hub, folder, "run", "output.data_root=other", *share, flags=["--shard", "0/2"], token=READ_TOKEN)
        assert done.returncode == 0 and not hub.log("whoami"), (done.stderr, hub.log())
        refused(said_of_the_hub(hub, folder, "run", "model.name=absent"), "absent")   # the token is fine


def push_that_may_be(folder):
    make_workspace(folder)
    org = {"name": "me", "type": "org"}
    scoped = [{"entity": {"type": "user", "name": "tester"}, "permissions": ["repo.content.read", "repo.write"]}]
    fine = {"auth": {"accessToken": {"role": "fineGrained", "fineGrained": {"scoped": scoped}}}}
    one = {"auth": {"accessToken": {"role": "fineGrained", "fineGrained": {"scoped": [
        {"entity": {"type": "dataset", "name": "me/x"}, "permissions": ["repo.write"]}]}}}, "orgs": [org]}
    with Fixture() as hub:
        for may, words, repo, who in (
                (True, "as 'tester', whose token may write; the repository is not there", REPO, {}),
                (True, "as 'tester'", REPO, fine), (True, "as 'tester'", "me/x", one),
                (True, "as 'tester'", "me/x", {"orgs": [{**org, "roleInOrg": "write"}]}),
                (None, "'tester' may only read in the organisation 'me'", "me/x", {"orgs": [{**org, "roleInOrg": "read"}]}),
                (None, "'me' is neither that account nor an organisation of it", "me/x", {}),
                (None, "of which this one is none", "me/y", one)):
            hub.set(who=who)
            done = said_of_the_hub(hub, folder, "plan", f"output.hf_repo_id={repo}")
            assert done.returncode == 0 and f"to {repo}, branch main: " in done.stdout and words in done.stdout, (words, done.stdout)
            got = json.loads(said_of_the_hub(hub, folder, "plan", f"output.hf_repo_id={repo}", flags=["--json"]).stdout)
            assert bool(got["may_push"]) == bool(may) and got["hf_account"] == "tester", got
            done = said_of_the_hub(hub, folder, "run", f"output.hf_repo_id={repo}", "model.name=absent")
            refused(done, "absent")
            assert (words in done.stderr) == (may is None), done.stderr
        hub.set(who={})
        done = said_of_the_hub(hub, folder, "run", "output.data_root=pushed")
        assert done.returncode == 0 and hub.tree(REPO), done.stderr
        assert "repository and branch are there" in said_of_the_hub(hub, folder, "plan").stdout
        assert "the push makes the branch" in said_of_the_hub(hub, folder, "plan", "output.hf_branch=new").stdout
        hub.clear()
        done = said_of_the_hub(hub, folder, "plan", flags=["--no-probe"])
        assert "not asked" in done.stdout and not hub.log(), hub.log()


def network_trouble(folder):
    """A warning at the start, and the push at the end tries again."""
    make_workspace(folder)
    with Fixture() as hub:
        for fault in ({"status": 503}, {"status": 404}, {"drop": True}):
            hub.reset()
            hub.fault(match="whoami", times=-1, **fault)
            done = said_of_the_hub(hub, folder, "plan")
            assert done.returncode == 0 and "not known: " in done.stdout, (fault, done.stdout)
            done = said_of_the_hub(hub, folder, "run")
            assert done.returncode == 0 and "the Hub does not say whether the token may write" in done.stderr and hub.tree(REPO), (fault, done.stderr)
        hub.clear()
        done = said_of_the_hub(hub, folder, "run", HF_HUB_OFFLINE="1")
        assert "HF_HUB_OFFLINE is set: nothing will be pushed" in done.stderr and not hub.log(), done.stderr
        assert "not, while HF_HUB_OFFLINE is set" in said_of_the_hub(hub, folder, "plan", HF_HUB_OFFLINE="1").stdout


if __name__ == "__main__":
    sys.exit(main("plan", [members, shapes, no_device, weights_read_again, disk, results, push_that_cannot_be, push_that_may_be, network_trouble]))
