#!/usr/bin/env python3
"""Where a run is: one line on a terminal of any width, plain dated lines elsewhere; what a signal, a resume and a process without work say."""
import fcntl
import gzip
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios

from common import ROOT, engine, main, make_workspace, wait_until, write_jsonl

UNITS, UNIT = 9, 16
TEXTS = UNITS * UNIT - 5
SETTINGS = ["dataset.path=data.jsonl", f"dataset.max_samples={TEXTS}", "output.data_root=out", "output.layout=branch", "tokenizer.max_length=null",
            "inference.threads=1", "inference.batch_size=4", "inference.backend=ref"]
ACK = "qkengine: stopping after this layer; once more stops now\n"
PLAIN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [^ \[]+\[(\d+)\] (.*)")


def workspace(folder, words=24):
    make_workspace(folder)
    text = (ROOT / "tests/demo/texts.jsonl").read_text(encoding="utf-8").split()[:words]
    write_jsonl(folder / "data.jsonl", [{"id": f"d{i}", "text": " ".join(text)} for i in range(TEXTS)])
    return folder


def arguments(*more):
    args = [str(ROOT / "qkengine"), "run", "config.yaml"]
    for s in [*SETTINGS, *(m for m in more if "=" in m)]:
        args += ["--set", s]
    return [*args, *(m for m in more if "=" not in m)]


class Terminal:
    """A run on a terminal of its own; heard: all that it showed."""

    def __init__(self, folder, columns, *more, term="xterm", **env):
        self.master, slave = pty.openpty()
        self.resize(columns)

        def take():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen(arguments(*more), cwd=folder, stdin=slave, stdout=slave, stderr=slave, preexec_fn=take,
                                        env={**os.environ, "TERM": term, **env})
        os.close(slave)
        self.heard = ""

    def resize(self, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self):
        try:
            piece = os.read(self.master, 4096)
        except OSError:      # nobody has the other side any more
            piece = b""
        self.heard += piece.decode().replace("\r\n", "\n")
        return bool(piece)

    def until(self, words):
        while words not in self.heard:
            assert self.read(), (words, self.heard)

    def end(self):
        while self.read():
            pass
        os.close(self.master)
        return self.process.wait()


def drawn(heard):
    """The progress lines as they were drawn, each in the place of the last."""
    return [re.split(r"[\r\n]", piece)[0] for piece in heard.split("\r\033[K")[1:] if not piece.startswith("qkengine: ") and re.split(r"[\r\n]", piece)[0]]


def widths(folder):
    workspace(folder)
    shown = {}
    for columns in (25, 40, 80, 200):
        t = Terminal(folder, columns)
        assert t.end() == 0, t.heard
        lines = drawn(t.heard)
        assert lines and all(len(line) < columns for line in lines), (columns, lines)
        assert all(c not in re.sub(r"\r\033\[K", "", t.heard) for c in "\r\033"), t.heard
        # It counts up: units, and per cent between them.
        at = [int(m[1]) for line in lines if (m := re.search(r"(\d+) %", line)) and "/9" in line]
        assert at == sorted(at) and at[0] == 0 and at[-1] == 100 and len(set(at)) > 2, at
        last = [line for line in lines if "/9" in line][-1]
        assert t.heard.count(last + "\n") == 1, t.heard     # the last one stays
        texts = f"{TEXTS}/{TEXTS} texts  " if columns > 25 else ""      # without ETA there is room for them
        assert last.startswith(f"9/9 units  {texts}100 %"), last
        shown[columns] = next(line for line in lines if re.search(r"ETA [\d.]+", line))
        shutil.rmtree(folder / "out")
    assert re.fullmatch(r"\d/9( units)?  \d+ %  ETA [\d.]+s", shown[25]), shown
    assert re.fullmatch(rf"\d/9 units  (\d+/{TEXTS} texts  )?\d+ %  ETA [\d.]+s", shown[40]), shown
    for columns in (80, 200):
        assert re.fullmatch(rf"\d/9 units  \d+/{TEXTS} texts  \d+ %  \d+ tokens/s  1 process  ETA [\d.]+s", shown[columns]), shown
    return shown[200]


def resized(folder):
    workspace(folder)
    t = Terminal(folder, 120)
    t.until("tokens/s")
    t.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: open(f"/proc/{t.process.pid}/stat").read().rsplit(")", 1)[1].split()[0] in "TZ")
    t.resize(25)
    os.write(t.master, b"-\n")       # echoed behind all that was shown before
    t.until("-\n")
    before = len(t.heard)
    t.process.send_signal(signal.SIGCONT)
    assert t.end() == 0, t.heard
    lines = drawn(t.heard[before:])
    assert lines and all(len(line) < 25 for line in lines), lines


def one_long_text(folder):
    """The per cent moves by layers where one text is all there is."""
    workspace(folder, 400)
    t = Terminal(folder, 80, "dataset.max_samples=1")
    assert t.end() == 0, t.heard
    lines = [line for line in drawn(t.heard) if "unit" in line]
    assert lines[0].startswith("0/1 unit  0/1 text  0 %  1 process  ETA -"), lines
    assert any(re.search(r"0/1 unit  0/1 text  (25|50|75) %  .*ETA [\d.]+s", line) for line in lines), lines
    assert "qkengine: 1 text, " in t.heard, t.heard


def no_terminal(folder):
    """A pipe, and a terminal that takes no control sequences."""
    workspace(folder)
    done = subprocess.run(arguments(), cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and not re.search(r"[\r\033]", done.stderr), done.stderr
    lines = PLAIN.findall(done.stderr)
    assert lines[0][1] == f"0/9 units  0/{TEXTS} texts  0 %  1 process  ETA -", lines
    assert lines[-1][1].startswith(f"9/9 units  {TEXTS}/{TEXTS} texts  100 %  ") and "ETA" not in lines[-1][1], lines
    shutil.rmtree(folder / "out")
    t = Terminal(folder, 80, term="dumb")
    assert t.end() == 0 and not re.search(r"[\r\033]", t.heard), t.heard
    lines = PLAIN.findall(t.heard)
    assert lines and all(int(pid) == t.process.pid for pid, _ in lines), t.heard
    shutil.rmtree(folder / "out")
    t = Terminal(folder, 80, "--quiet", "--json")
    assert t.end() == 0 and t.heard.startswith("{") and not re.search(r"[\r\033]", t.heard), t.heard


def row_count_unknown(folder):
    """Small files are counted; packed ones are not, whatever their size."""
    workspace(folder)
    texts = (folder / "data.jsonl").read_bytes()
    (folder / "data.jsonl.gz").write_bytes(gzip.compress(texts))
    for name, first in (("data.jsonl", f"0/9 units  0/{TEXTS} texts  0 %  1 process  ETA -"), ("data.jsonl.gz", "0 units  0 texts  1 process  ETA -")):
        shutil.rmtree(folder / "out", ignore_errors=True)
        done = subprocess.run(arguments("dataset.max_samples=null", f"dataset.path={name}"), cwd=folder, capture_output=True, text=True)
        lines = PLAIN.findall(done.stderr)
        assert done.returncode == 0 and lines[0][1] == first, done.stderr
        assert lines[-1][1].startswith(f"9/9 units  {TEXTS}/{TEXTS} texts  100 %"), lines


def interrupted(folder):
    """Ctrl-C is acknowledged, its end says what is kept, and the next start what is there."""
    workspace(folder)
    t = Terminal(folder, 80)
    t.until("1/9 units")
    os.write(t.master, b"\x03")
    assert t.end() == 3, t.heard
    assert t.heard.count(ACK) == 1, t.heard
    kept = re.search(r"\nqkengine:   run the same command again: what is finished is kept \((\d) units?\)"
                     r"(; \d+ texts? of the unit in work (is|are) computed again)?\n$", t.heard)
    there = len(list((folder / "out/staging").glob("unit-*.qku")))
    assert kept and int(kept[1]) == there, (there, t.heard)
    done = subprocess.run(arguments(), cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"qkengine: resumes: {there} of 9 units {'is' if there == 1 else 'are'} there\n") == 1, done.stderr
    again = engine(arguments()[1:], folder)
    assert again.returncode == 0 and "nothing to do" in again.stderr and not PLAIN.search(again.stderr), again.stderr


def interrupted_twice(folder):
    """The second one ends it at once, where a layer takes so long that it is still at work."""
    workspace(folder, 2500)
    ends = []
    while -signal.SIGINT not in ends:
        t = Terminal(folder, 80, "dataset.max_samples=1")
        t.until("0/1 unit")
        os.write(t.master, b"\x03")
        t.until(ACK)
        os.write(t.master, b"\x03")
        ends.append(t.end())
        assert ends[-1] in (3, -signal.SIGINT) and t.heard.count(ACK) == 1, (ends, t.heard)
        end = "\nqkengine: stopped at once\nqkengine:   run the same command again: what is finished is kept (no unit yet)"
        assert ends[-1] == 3 or end in t.heard, t.heard
        assert len(ends) < 20, ends


def several(folder):
    """Processes that share a run are counted, each once; shards count what is theirs; who finds no work says it in a line."""
    workspace(folder)
    sleeper = subprocess.Popen(arguments(), cwd=folder, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list((folder / "out/staging").glob("unit-*.tmp")), sleeper)
    sleeper.send_signal(signal.SIGSTOP)
    other = subprocess.run(arguments(), cwd=folder, capture_output=True, text=True)
    assert other.returncode == 0 and "  2 processes  ETA" in other.stderr, other.stderr
    assert "being worked on by others; the last to finish merges" in other.stderr, other.stderr
    idle = subprocess.run(arguments(), cwd=folder, capture_output=True, text=True)
    lines = idle.stderr.splitlines()
    assert idle.returncode == 0 and "qkengine: no work is left for this process: unit" in lines[-1], lines
    assert len(lines) == 2 and lines[0].startswith("qkengine: version"), lines
    sleeper.send_signal(signal.SIGCONT)
    assert sleeper.wait() == 0, sleeper.communicate()
    sleeper.stderr.close()
    shutil.rmtree(folder / "out")
    shards = [subprocess.Popen(arguments("--shard", f"{i}/2"), cwd=folder, stderr=subprocess.PIPE, text=True) for i in range(2)]
    for i, (shard, units, texts) in enumerate(zip(shards, (5, 4), (5 * UNIT - 5, 4 * UNIT))):
        said = shard.communicate()[1]
        assert shard.returncode == 0, said
        assert re.search(rf" {units}/{units} units  {texts}/{texts} texts  100 %  .*1 process  shard {i}/2", said), said


if __name__ == "__main__":
    sys.exit(main("progress", [widths, resized, one_long_text, no_terminal, row_count_unknown, interrupted, interrupted_twice, several]))
