#!/usr/bin/env python3
"""1,280 small files to an empty repository: qkengine push against huggingface_hub's upload_folder, on the fixture of
tests/hub, alternating in one run.  Peak resident set from the system's account of the finished process: must stay under
64 MB.  usage: hub_push.py [BYTES_PER_FILE [ROUNDS]]; HUB_PYTHON: a Python with huggingface_hub (default: this one)
"""
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from hub.fixture import TOKEN, Fixture  # noqa: E402

BYTES = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
PYTHON = os.environ.get("HUB_PYTHON", sys.executable)
REPO, LAYERS, HEADS = "tester/bench", 32, 20

CLIENT = """
import sys, time, huggingface_hub
api = huggingface_hub.HfApi()
start = time.monotonic()
api.create_repo(sys.argv[2], repo_type="dataset", exist_ok=True)
api.upload_folder(repo_id=sys.argv[2], repo_type="dataset", folder_path=sys.argv[1], commit_message="Update dataset")
print(huggingface_hub.__version__, time.monotonic() - start)
"""


def measure(command, environment):
    """(seconds, peak bytes, standard output) of a process."""
    start = time.monotonic()
    process = subprocess.Popen([str(c) for c in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    said = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    return time.monotonic() - start, usage.ru_maxrss * 1024, said


def main():
    times = {"qkengine": [], "client": [], "client call": []}
    peaks = {"qkengine": 0, "client": 0}
    with tempfile.TemporaryDirectory() as temporary, Fixture() as hub:
        folder = pathlib.Path(temporary) / "final"
        for layer in range(LAYERS):
            for head in range(HEADS):
                for kind in "qk":
                    path = folder / f"l{layer:02}h{head:02}{kind}/data.parquet"
                    path.parent.mkdir(parents=True)
                    path.write_bytes(b"PAR1" + os.urandom(BYTES - 8) + b"PAR1")
        (folder / "README.md").write_text("# bench\n")
        environment = hub.environment(pathlib.Path(temporary) / "home", HF_TOKEN=TOKEN)
        trees, version = [], ""
        for _ in range(ROUNDS):
            hub.reset()
            seconds, peak, _ = measure([ROOT / "qkengine", "push", folder, REPO, "--quiet"], environment)
            times["qkengine"].append(seconds)
            peaks["qkengine"] = max(peaks["qkengine"], peak)
            trees.append(hub.tree(REPO))
            subprocess.run(["rm", "-r", folder / ".qkengine"], check=True)
            hub.reset()
            seconds, peak, said = measure([PYTHON, "-c", CLIENT, folder, REPO], environment)
            version, inside = said.split()
            times["client"].append(seconds)
            times["client call"].append(float(inside))
            peaks["client"] = max(peaks["client"], peak)
            trees.append(hub.tree(REPO))
        assert all(t == trees[0] for t in trees) and len(trees[0]) == 2 * LAYERS * HEADS + 2, "the repositories differ"
        hub.reset()
        measure([ROOT / "qkengine", "push", folder, REPO, "--quiet"], environment)
        again, _, _ = measure([ROOT / "qkengine", "push", folder, REPO, "--quiet"], environment)
    print(f"{2 * LAYERS * HEADS} files of {BYTES} bytes, {ROUNDS} rounds, huggingface_hub {version}; median seconds (all)")
    for name, label in (("qkengine", "qkengine push"), ("client", "upload_folder, whole process"),
                        ("client call", "upload_folder, the call alone")):
        print(f"  {label:32} {statistics.median(times[name]):7.2f}  ({', '.join(f'{t:.2f}' for t in times[name])})")
    print(f"  qkengine push, nothing to do     {again:7.2f}")
    print(f"  peak memory: qkengine {peaks['qkengine'] / 1e6:.1f} MB, client {peaks['client'] / 1e6:.1f} MB")
    ok = peaks["qkengine"] < 64e6 and statistics.median(times["qkengine"]) <= statistics.median(times["client call"])
    print("within bounds" if ok else "OUT OF BOUNDS")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
