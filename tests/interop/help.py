#!/usr/bin/env python3
"""What the program says of itself: help of every command by each way to ask, the reference of a configuration, unknown words.

usage: help.py
"""
import re
import subprocess
import sys

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
    assert text == between
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


def output_that_is_lost(folder):
    """Help that did not arrive is no success, as any other output."""
    for args in (["help"], ["help", "run"], ["help", "config"], ["run", "--help"], ["--version"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([ROOT / "qkengine", *args], stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 3 and "standard output" in done.stderr, (args, done)


if __name__ == "__main__":
    sys.exit(main("help", [the_program, each_command, configuration, unknown_words, output_that_is_lost]))
