#!/usr/bin/env python3
"""Pulling a model of 1 GB from a Hub on the loopback: qkengine and huggingface_hub in turns, in one run.

Prints seconds (of each round, and the middle one), MB/s and the peak resident set of the client. huggingface_hub is that
of the Python that runs this.  usage: hub.py [ROUNDS]
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import hub_fixture  # noqa: E402
from common import ROOT, high_water  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
LIMIT = 64e6
PYTHON = "import huggingface_hub as h; h.snapshot_download('me/%s')"


def measure(command, env):
    began = time.monotonic()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    peak = 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() - began > 0.05:   # it has become the client by then
            peak = max(peak, high_water(process.pid))
        time.sleep(0.01)
    assert status == 0, command
    return time.monotonic() - began, peak, usage.ru_utime + usage.ru_stime


def model(shards):
    files = {f"model-{i + 1:05d}-of-{shards:05d}.safetensors": os.urandom(1_000_000_000 // shards) for i in range(shards)}
    index = {"weight_map": {f"t{i}": name for i, name in enumerate(files)}}
    return {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode(), **files}


def compare(hub, name):
    clients = {"qkengine": [str(ROOT / "qkengine"), "pull", f"me/{name}", "--include", "*", "--quiet"],
               "huggingface_hub": [sys.executable, "-c", PYTHON % name]}
    results = {c: [] for c in clients}
    for _ in range(ROUNDS):
        for client, command in clients.items():
            with tempfile.TemporaryDirectory() as home:
                results[client].append(measure(command, hub.env(home, HF_XET_HIGH_PERFORMANCE="0")))
            hub.clear()
    for client, r in results.items():
        seconds = [x[0] for x in r]
        middle = statistics.median(seconds)
        print(f"{name:8} {client:16} {' '.join(f'{s:5.2f}' for s in seconds)} s, middle {middle:.2f} s = {1000 / middle:.0f} MB/s, "
              f"CPU {statistics.median(x[2] for x in r):.2f} s, peak {max(x[1] for x in r) / 1e6:.1f} MB", flush=True)
    ours, theirs = (statistics.median(x[0] for x in results[c]) for c in clients)
    return ours <= theirs and max(x[1] for x in results["qkengine"]) < LIMIT


def main():
    import huggingface_hub
    print(f"huggingface_hub {huggingface_hub.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    hub = hub_fixture.Hub()
    ok = True
    for name, shards in (("1x1GB", 1), ("4x250MB", 4)):
        hub.add("model", f"me/{name}", model(shards))
        ok &= compare(hub, name)
        hub.forget()
    print("at least as fast, within 64 MB" if ok else "SLOWER, OR OVER 64 MB")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
