#!/usr/bin/env python3
"""What the program says of itself: help of every command by each way to ask, the reference of a configuration, the manual page,
completion in real shells, unknown words.

usage: help.py
"""
import fcntl
import functools
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from common import ROOT, engine, main, refused


def said(folder, *args):
    done = engine(args, folder)
    assert done.returncode == 0 and not done.stderr, (args, done.returncode, done.stderr)
    return done.stdout


def commands(folder):
    return re.findall(r"^  ([a-z]+) +\S", said(folder, "help").split("qkengine help COMMAND")[0], re.M)


def the_program(folder):
    """The same by three words; without any it is wrong usage, with the help all the same."""
    text = said(folder, "help")
    assert said(folder, "--help") == text == said(folder, "-h") and "qkengine help config" in text
    none = engine([], folder)
    assert none.returncode == 2 and none.stdout == text, none
    assert len(commands(folder)) == text.count("\n  ") - 4, text


def each_command(folder):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = commands(folder)
    assert {"run", "plan", "push", "pull", "inspect"} <= set(names), names
    for name in names:
        text = said(folder, "help", name)
        assert text.startswith(f"usage: qkengine {name}"), text
        assert text == said(folder, name, "--help") == said(folder, name, "-h") == said(folder, "--help", name), name
        assert re.search(rf"^\| `{name}[ `]", readme, re.M), f"README.md has no row for {name}"
        for option in re.findall(r"^  (--[a-z-]+)", text, re.M):    # and none that is not known
            done = engine([name, option + "=1=2", "a", "b", "c", "d"], folder)
            assert "unknown option" not in done.stderr, (name, option, done.stderr)
    return f"{len(names)} commands"


def configuration(folder):
    """The reference that configs/README.md has, word for word."""
    text = said(folder, "help", "config")
    readme = (ROOT / "configs/README.md").read_text(encoding="utf-8")
    between = readme.split("<!-- config reference: begin", 1)[1].split("\n", 1)[1].split("<!-- config reference: end -->")[0]
    assert text == between, "configs/README.md: between its marks belongs what qkengine help config prints"
    return f"{text.count(chr(10)) - 2} keys"


def unknown_words(folder):
    refused(engine(["help", "confg"], folder), "unknown help topic 'confg'", "did you mean 'config'?", status=2)
    refused(engine(["help", "pusj"], folder), "unknown help topic 'pusj'", "did you mean 'push'?", status=2)
    refused(engine(["--help", "zzzzzzzz"], folder), "unknown help topic 'zzzzzzzz'", "lists the commands", status=2)
    assert "did you mean" not in engine(["help", "zzzzzzzz"], folder).stderr
    refused(engine(["help", "run", "plan"], folder), "one argument too many: plan", "help [COMMAND | config]", status=2)
    refused(engine(["rnu"], folder), "unknown command 'rnu'", "did you mean 'run'?", status=2)
    refused(engine(["confg"], folder), "unknown command", status=2)
    assert "'config'" not in engine(["confg"], folder).stderr     # it is a topic, not a command


def wrong_values(folder):
    """What the table of options bounds is refused before anything is opened, whichever command it is."""
    for args, words in ((["verify", "a", "b", "--dtype", "bfloat"], ("--dtype 'bfloat' is not known", "did you mean 'bfloat16'?")),
                        (["verify", "a", "b", "--isa", "zzz"], ("--isa 'zzz' is not known", "known: portable, avx2")),
                        (["run", "a", "--backend", "cud"], ("--backend 'cud' is not known", "did you mean 'cuda'?")),
                        (["plan", "a", "--look", "0"], ("--look 0: a whole number from 1 is needed",)),
                        (["plan", "a", "--look", "1e3"], ("--look 1e3: a whole number", "write 1000")),
                        (["synth", "--like", "qwen3-8b", "a", "--threads=5000"], ("--threads 5000 is too large: 4096 at most",)),
                        (["inspect", "a", "--rows", "9" * 30], ("beyond 64 bits",)),
                        (["diff", "a", "b", "--tolerance", "-1"], ("--tolerance -1: a number from 0 is needed",)),
                        (["completion", "tcsh"], ("SHELL 'tcsh' is not known", "known: bash, zsh, fish")),
                        (["completion"], ("an argument is missing", "usage: qkengine completion SHELL")),
                        (["man", "run"], ("one argument too many: run",))):
        refused(engine(args, folder), *words, status=2)
    for args in (["run", "a", "--backend", "CPU"], ["verify", "a", "b", "--dtype=BFloat16"]):   # as in a configuration
        refused(engine(args, folder), "cannot open", status=1)


def eighty_columns(folder):
    for args in (["help"], *(["help", name] for name in commands(folder))):
        for line in said(folder, *args).splitlines():
            assert len(line) <= 80 and line == line.rstrip(), (args, line)


# ---- the manual page ----

def options(folder):
    """{command: options}, by its help"""
    return {name: re.findall(r"^  (--[a-z-]+)", said(folder, "help", name), re.M) for name in commands(folder)}


def keys(folder):
    return re.findall(r"^\| `([a-z_.]+)`", said(folder, "help", "config"), re.M)


def plain(page):
    """A manual page as text, before a formatter fills its lines."""
    text = re.sub(r"\\f[BR]", "", page)
    for escape, letter in (("\\-", "-"), ("\\(aq", "'"), ("\\(dq", '"'), ("\\(ti", "~"), ("\\(ha", "^"), ("\\&", ""), ("\\e", "\\")):
        text = text.replace(escape, letter)
    return text


def in_the_manual(folder):
    """Every command, option, default and key of the help, and every variable that the sources ask for."""
    page = plain(said(folder, "man"))
    assert re.findall(r"^\.SH (.*)", page, re.M) == ["NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "CONFIGURATION", "ENVIRONMENT", "FILES",
                                                    "EXIT STATUS", "EXAMPLES"], page
    parts = {p.split("\n", 1)[0].split()[0]: p for p in re.split(r"^\.SS ", page, flags=re.M)[1:]}
    assert list(parts) == commands(folder), list(parts)
    for name, names in options(folder).items():
        assert re.findall(r"^\.TP\n(--[a-z-]+)", parts[name].split(".SH")[0], re.M) == names, name
        text = " ".join(said(folder, "help", name).split())
        for value in re.findall(r"\(default: [^)]*\)", text):
            assert value in parts[name].replace("\n", " "), (name, value)
    assert re.findall(r"^\.TP\n([a-z_]+\.[a-z_.]+)\n", page.split(".SH CONFIGURATION")[1].split(".SH")[0], re.M) == keys(folder)
    environment = page.split(".SH ENVIRONMENT")[1].split(".SH")[0]
    sources = (*(ROOT / "hub").glob("*.c"), *(ROOT / "engine/base").glob("*.c"), ROOT / "kernels/cuda/libraries.c")
    name = r'"((?:HF|HUGGINGFACE|HUGGING_FACE|QKENGINE|TRANSFORMERS|XDG|OMP|CUDA|SSL|NO)_[A-Z_]+)"'
    asked = {v for source in sources for v in re.findall(name, source.read_text(encoding="utf-8"))}
    assert len(asked) > 15, asked
    missing = {v for v in asked if v not in environment} - {"QKENGINE_RETRY_MS", "HF_OIDC_RESOURCE"}    # for tests; only warned of
    assert not missing, missing
    return f"{len(keys(folder))} keys, {len(asked)} variables"


def manual_without_warnings(folder):
    """By each formatter that is here."""
    (folder / "qkengine.1").write_text(said(folder, "man"))
    tried = []
    for program, *args in (["groff", "-ww", "-man", "-Tutf8"], ["man", "--warnings", "-l"], ["mandoc", "-Tlint"]):
        if not shutil.which(program):
            continue
        done = subprocess.run([program, *args, "qkengine.1"], cwd=folder, capture_output=True, text=True, env={**os.environ, "MANWIDTH": "80"})
        assert done.returncode == 0 and not done.stderr and (program != "mandoc" or not done.stdout), (program, done.stdout[:2000], done.stderr)
        tried.append(program)
    return ", ".join(tried) or "SKIPPED: neither groff, man nor mandoc is installed"


# ---- completion ----

@functools.cache
def installed():
    """What `make install` puts below share/."""
    installed.folder = tempfile.TemporaryDirectory()    # until the tests are through
    subprocess.run(["make", "-s", "install", f"DESTDIR={installed.folder.name}", "PREFIX=/usr"], cwd=ROOT, check=True, capture_output=True)
    return Path(installed.folder.name) / "usr"


def is_installed(folder):
    share = installed() / "share"
    assert (installed() / "bin/qkengine").stat().st_mode & 0o777 == 0o755
    for path, args in (("man/man1/qkengine.1", ["man"]), ("bash-completion/completions/qkengine", ["completion", "bash"]),
                       ("zsh/site-functions/_qkengine", ["completion", "zsh"]), ("fish/vendor_completions.d/qkengine.fish", ["completion", "fish"])):
        assert (share / path).read_text() == said(folder, *args) and (share / path).stat().st_mode & 0o777 == 0o644, path


def in_the_completions(folder):
    """Every command and option of the help, and every key of a configuration."""
    for shell in ("bash", "zsh", "fish"):
        script = said(folder, "completion", shell)
        for name, names in options(folder).items():
            part = {"bash": rf"^ +{name}\) takes='(--[^']*)'", "zsh": rf"^  {name}\)$(.*?);;$", "fish": rf"__qkengine_is {name}(' -l [^\n]*)"}[shell]
            found = " ".join(re.findall(part, script, re.M | re.S))
            for option in names:
                assert re.search(rf"-l {option[2:]}\b" if shell == "fish" else rf"{option}(?![a-z-])", found), (shell, name, option)
        missing = [k for k in keys(folder) if k not in script]
        assert not missing, (shell, missing)


# What is typed, words that must be offered, and words that must not be; a workspace has my.yaml, texts.txt, data/.
TYPED = (
    ("qkengine ", "run status plan inspect diff verify tokenize families synth pull push completion man help", "my.yaml"),
    ("qkengine pu", "pull push", "tokenize diff"),
    ("qkengine run --", "--set --backend --shard --quiet --json --help", "--look"),
    ("qkengine plan --lo", "--look", "--set"),
    ("qkengine plan --js", "--json", "--set"),
    ("qkengine plan my.yaml --json=", "line", "texts.txt"),
    ("qkengine plan --json ", "my.yaml data/", "line texts.txt"),
    ("qkengine run ", "my.yaml data/", "texts.txt"),
    ("qkengine run my.yaml --set capture.la", "capture.layers", "capture.heads"),
    ("qkengine run my.yaml --set=capture.sampler.", "capture.sampler.type capture.sampler.base_rate", "output.layout"),
    ("qkengine run my.yaml --set output.layout=", "prefix branch", "texts.txt"),
    ("qkengine run --backend ", "auto cpu ref cuda", "texts.txt"),
    ("qkengine verify --isa=av", "avx2 avx512 avx512bf16", "portable"),
    ("qkengine synth --like smollm", "smollm2-135m smollm2-1.7b smollm3-3b", "qwen3-8b"),
    ("qkengine inspect ", "my.yaml texts.txt data/", "run"),
    ("qkengine push d", "data/", "texts.txt"),
    ("qkengine help c", "completion config", "tokenize"),
    ("qkengine completion ", "bash zsh fish", "my.yaml"),
)


def workspace(folder):
    (folder / "my.yaml").touch()
    (folder / "texts.txt").touch()
    (folder / "data").mkdir()
    return {**os.environ, "HOME": str(folder), "TERM": "dumb", "XDG_DATA_DIRS": str(installed() / "share"),
            "PATH": f"{installed() / 'bin'}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


class Terminal:
    """An interactive shell on a terminal of its own."""

    def __init__(self, command, folder):
        environment = workspace(folder)
        self.child, self.file = pty.fork()
        if self.child == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, environment)
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 300, 0, 0))

    def ask(self, typed, until):
        os.write(self.file, typed.encode())
        got, end = "", time.monotonic() + 60
        while not re.search(until, got, re.S):
            assert time.monotonic() < end, (typed, got)
            if select.select([self.file], [], [], 1)[0]:
                got += os.read(self.file, 65536).decode(errors="replace")
        return got

    def close(self):
        os.close(self.file)
        os.waitpid(self.child, 0)


def offers(words, no_words, got, what):
    shown = set(re.split(r"[\s=]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x07", "", got)))
    assert set(words.split()) <= shown and not set(no_words.split()) & shown, (what, words, no_words, got)


def by_keys(command, start, folder):
    """Types each line and a tab. The line is deleted then, and DONE printed: by then all was shown."""
    shell = Terminal(command, folder)
    shell.ask(f"{start}; PS1='REA''DY>'\n", "READY>")
    for line, words, no_words in TYPED:
        got = shell.ask(f"{line}\t\x15print''f 'DO''NE\\n'\n", "DONE\r\n.*READY>").split("print''f")[0]
        offers(words, no_words, got, line)
    shell.close()
    return f"{len(TYPED)} lines"


def in_bash(folder):
    share = installed() / "share/bash-completion/completions/qkengine"
    quiet = "bind 'set show-all-if-ambiguous on'; bind 'set page-completions off'; bind 'set completion-query-items 0'; bind 'set enable-bracketed-paste off'"
    return by_keys(["bash", "--norc", "--noprofile", "-i"], f"{quiet}; source {share}", folder)


def in_zsh(folder):
    if not shutil.which("zsh"):
        return "SKIPPED: zsh is not installed"
    share = installed() / "share/zsh/site-functions"
    quiet = "unset zle_bracketed_paste; LISTMAX=10000; setopt no_list_ambiguous no_prompt_sp; zstyle ':completion:*' list-prompt ''"
    return by_keys(["zsh", "-f", "-i"], f"fpath=({share} $fpath); autoload -Uz compinit; compinit -u -D; {quiet}", folder)


def in_fish(folder):
    if not shutil.which("fish"):
        return "SKIPPED: fish is not installed"
    environment = workspace(folder)
    for line, words, no_words in TYPED:
        done = subprocess.run(["fish", "-c", "complete -C $argv[1]", line], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, (line, done.stderr)
        got = " ".join(w.split("\t")[0] for w in done.stdout.splitlines())
        offers(words, no_words, got, line)
    return f"{len(TYPED)} lines"


def output_that_is_lost(folder):
    """Help that did not arrive is no success, as any other output."""
    for args in (["help"], ["help", "run"], ["help", "config"], ["run", "--help"], ["--version"], ["man"], ["completion", "zsh"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([ROOT / "qkengine", *args], stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 3 and "standard output" in done.stderr, (args, done)


if __name__ == "__main__":
    sys.exit(main("help", [the_program, each_command, configuration, unknown_words, wrong_values, eighty_columns, in_the_manual,
                           manual_without_warnings, is_installed, in_the_completions, in_bash, in_zsh, in_fish, output_that_is_lost]))
