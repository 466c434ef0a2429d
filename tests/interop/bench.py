#!/usr/bin/env python3
"""qkengine bench: every family's shape goes through it, its reports hold together, it leaves nothing behind, and the page fits a phone and a
screen, light and dark, in a headless Chromium. And what a run says of its own stages. No time is judged.

usage: bench.py
"""
import csv
import html.parser
import json
import re
import shutil
import signal
import subprocess
import sys

from common import HANGS, ROOT, digest, engine, main, make_workspace, refused, run, wait_until

# Of each kind of model one that is small: grouped heads, fused tensors, windows, soft caps, experts, layers without attention.
SHAPES = [("smollm2-135m", 2), ("phi-3-mini-4k", 1), ("gemma-3-270m", 6), ("gemma-2-2b", 1), ("llama-3.2-11b-vision", 1)]
STAGES = ["forward", "rows", "unit", "merged"]
RUN_STAGES = ["tokenize", "wait", "forward", "rows", "write", "merge"]


def bench(folder, *args):
    done = engine(["bench", "--quiet", "--threads", "1", "--dir", folder, *args], folder)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


def shapes(folder):
    for like, layers in SHAPES:
        said = json.loads(bench(folder, "--like", like, "--layers", layers, "--tokens", "24,9", "--rounds", "1", "--dtype", "bfloat16",
                                "--sampler", "all", "--json"))
        assert said["model"] == like and said["random_weights"] and said["dtype"] == "bfloat16", said
        assert [length["tokens"] for length in said["lengths"]] == [24, 9]
        for length in said["lengths"]:
            heads = said["query_heads"] + said["key_heads"]
            assert length["rows"] == heads * length["tokens"] and length["files"] == heads, length
            assert [s["stage"] for s in length["stages"]] == STAGES
            forward, rows, unit, merged = length["stages"]
            assert rows["bytes"] == 4 * said["head_dim"] * length["rows"] < unit["bytes"] and merged["bytes"] > 0
            for stage in rows, unit, merged:      # one round tells nothing
                assert stage["added"]["verdict"] == "few" and stage["added"]["percent"] is None, stage
    assert not list(folder.iterdir()), "nothing is left behind"
    return f"{len(SHAPES)} models"


def reports(folder):
    args = ["--like", "smollm2-135m", "--layers", "1", "--tokens", "16", "--rounds", "6", "--against", "gather"]
    text = bench(folder, *args, "--csv", "t.csv", "--html", "t.html")
    lines = text.splitlines()
    assert lines[0].startswith("model   smollm2-135m (random weights), float32, 1 layer, 9 query and 3 key heads of 64"), lines[0]
    assert "16 tokens: 6 rounds" in text and "+ rows by gather" in text, text
    with open(folder / "t.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert [r["stage"] for r in rows] == ["forward", "rows", "gather", "unit", "merged"], rows
    for r in rows[1:]:
        assert r["verdict"] in ("told", "noise") and bool(r["added_percent"]) == (r["verdict"] == "told"), r
        assert 0.95 <= float(r["confidence"]) <= 1 and float(r["added_low"]) <= float(r["added_high"]), r
    assert bench(folder, *args, "--csv", "-").startswith("model,device,dtype,")
    assert bench(folder, *args, "--html", "-").startswith("<!DOCTYPE html>")
    plain = json.loads(bench(folder, *args[:8], "--json"))
    assert [s["stage"] for s in plain["lengths"][0]["stages"]] == STAGES
    assert sorted(p.name for p in folder.iterdir()) == ["t.csv", "t.html"]


def folders(folder):
    """A model that is there is measured whole; its weights are not random."""
    make_workspace(folder)
    said = json.loads(bench(folder, "model", "--tokens", "12", "--rounds", "1", "--backend", "ref", "--json"))
    assert not said["random_weights"] and said["model"] == "model" and said["peaks"]["float32_flops_per_second"] is None


def mistakes(folder):
    like = ["bench", "--like", "smollm2-135m"]
    refused(engine(["bench"], folder), "or --like NAME, is missing", "smollm2-135m", status=2)
    refused(engine([*like, "model"], folder), "one of them", status=2)
    refused(engine(["bench", "model", "--layers", "2"], folder), "--layers belongs to --like", status=2)
    refused(engine(["bench", "--like", "smollm2-136m"], folder), "smollm2-135m", status=1)
    refused(engine(["bench", "nowhere", "--rounds", "1"], folder), "nowhere", status=1)
    refused(engine([*like, "--layers", "31"], folder), "smollm2-135m has 30 layers", status=2)
    refused(engine([*like, "--tokens", "512;1"], folder), "--tokens 512;1", "with commas", status=2)
    refused(engine([*like, "--sampler", "log"], folder), "--sampler log:", "log_uniform:128/16", status=2)
    refused(engine([*like, "--dir", "nowhere", "--layers", "1"], folder), "nowhere/qkengine-bench-", status=1)
    refused(engine([*like, "--json", "--csv", "-"], folder), "one of them has standard output", status=2)
    refused(engine([*like, "--against", "hooks"], folder), "--against 'hooks'", "gather", status=2)
    refused(engine([*like, "--html", "nowhere/page.html"], folder), "nowhere/page.html", status=1)
    assert not list(folder.iterdir())


def interrupted(folder):
    """Ends with the status of a signal, prints no numbers, and takes its folder away."""
    process = subprocess.Popen([ROOT / "qkengine", "bench", "--like", "smollm2-135m", "--layers", "1", "--tokens", "16", "--rounds", "10000",
                                "--dir", folder, "--threads", "1"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list(folder.glob("qkengine-bench-*/staging/unit-*.qku")), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=HANGS)
    assert process.returncode == 3 and not out, (process.returncode, out, err)
    assert not list(folder.iterdir()), list(folder.iterdir())


class Tags(html.parser.HTMLParser):
    """Open and closed in order; ids are unique, and what is named by id is there."""
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.named = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag != "meta":
            self.open.append(tag)
        for key, value in attributes:
            assert value is not None, (tag, key)
            if key == "id":
                self.ids.append(value)
            if key == "aria-labelledby":
                self.named += value.split()

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, (tag, self.open)

    def handle_startendtag(self, tag, attributes):
        pass


def page(folder):
    """Of made-up numbers with everything that a page can hold."""
    subprocess.run([ROOT / "build/cpu/tests/test_bench", "page", folder / "page.html"], check=True)
    text = (folder / "page.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert not tags.open and len(set(tags.ids)) == len(tags.ids) and set(tags.named) <= set(tags.ids), (tags.open, tags.ids)
    assert text.count("<svg") == 3 == text.count('role="img"') and "<table>" in text and "src=" not in text and "url(" not in text
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        return "SKIPPED in a browser: chromium is not installed"
    # The page in a frame of each width: a script around it says how wide its content is, and which colours hold.
    quoted = text.replace("&", "&amp;").replace('"', "&quot;")
    probe = ("<!DOCTYPE html><body>" + "".join(f'<iframe width={w} height=900 srcdoc="{quoted}"></iframe>' for w in (390, 1280)) + """<pre id=out></pre><script>
    onload = () => { const all = [...document.querySelectorAll('iframe')].map(f => { const d = f.contentDocument, s = f.contentWindow.getComputedStyle(d.body);
      const outside = [...d.querySelectorAll('svg text')].filter(t => { const a = t.getBoundingClientRect(), b = t.ownerSVGElement.getBoundingClientRect();
        return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1 }).map(t => t.textContent);
      return { width: d.documentElement.clientWidth, content: d.documentElement.scrollWidth, text: s.color, page: s.backgroundColor, outside,
        letters: Math.min(...[...d.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height)) } });
      document.getElementById('out').textContent = JSON.stringify(all) }</script>""")
    (folder / "probe.html").write_text(probe, encoding="utf-8")
    seen = {}
    for scheme, setting in ("dark", 0), ("light", 1):
        done = subprocess.run([chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile",
                               f"--blink-settings=preferredColorScheme={setting}", "--virtual-time-budget=5000", "--dump-dom",
                               f"file://{folder}/probe.html"], capture_output=True, text=True, timeout=HANGS)
        found = re.search(r'<pre id="out">(.+?)</pre>', done.stdout)
        assert found, (done.returncode, done.stdout[-500:], done.stderr[-500:])
        seen[scheme] = json.loads(found[1])
        for frame in seen[scheme]:
            assert frame["content"] <= frame["width"], ("the page is wider than its window", frame)
            assert not frame["outside"], ("letters are cut off", frame)
            assert frame["letters"] >= 9, ("letters are too small to read", frame)
    light, dark = (sum(map(int, re.findall(r"\d+", seen[s][0]["page"])[:3])) for s in ("light", "dark"))
    assert light > 700 and dark < 150, seen
    return "in Chromium: 390 and 1280 pixels, light and dark"


def stages_of_a_run(folder):
    """In --json, as a line, and in a file beside the dataset that is no part of it."""
    make_workspace(folder)
    done = engine(["run", "config.yaml", "--json"], folder)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert list(said["stages"]) == RUN_STAGES and said["stages"]["forward"] > 0 and said["stages"]["merge"] > 0, said
    assert sum(v for k, v in said["stages"].items() if k not in ("tokenize", "write")) <= said["seconds_total"], said
    line = [s for s in done.stderr.splitlines() if "stages: wait " in s]
    assert len(line) == 1 and "; beside them tokenize " in line[0], done.stderr
    [times] = list(folder.rglob("timings.jsonl"))
    out = times.parent
    assert (out / "final").is_dir() and not list((out / "final").rglob("timings*"))
    [noted] = map(json.loads, times.read_text().splitlines())
    assert noted["stages"] == said["stages"] and noted["merged"] and noted["tokens"] == said["tokens"], (noted, said)
    before = digest(out / "final")
    assert run(folder).returncode == 0 and len(times.read_text().splitlines()) == 1, "nothing was done: nothing is noted"
    shutil.rmtree(out)
    out.mkdir()
    (out / "timings.jsonl").symlink_to(folder / "elsewhere")      # never through a link, and never a reason to fail
    done = engine(["run", "config.yaml"], folder)
    assert done.returncode == 0 and "the times of this run are not kept" in done.stderr, done.stderr
    assert not (folder / "elsewhere").exists() and digest(out / "final") == before


if __name__ == "__main__":
    sys.exit(main("bench", [shapes, reports, folders, mistakes, interrupted, page, stages_of_a_run]))
