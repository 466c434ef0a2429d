#!/usr/bin/env python3
"""A run over a dataset of the Hub: four Parquet files of 60 MB on the loopback, of which a run reads two small columns, so that what
counts is how the files come. Cold (each is fetched while the one before it is read) and warm (all are in the cache), in turns.

Prints seconds and the peak resident set of each round.  usage: hub_stream.py [ROUNDS]
"""
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import hub_stream as suite  # noqa: E402
from common import high_water  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
FILES, BLOB = 4, 2_500_000   # bytes of a third column in each row


def shard(name):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{**r, "blob": os.urandom(BLOB)} for r in suite.rows_of(name)]), out)
    return out.getvalue()


def measure(tmp, name):
    began, peak = time.monotonic(), 0
    process = subprocess.Popen(suite.command(), cwd=suite.workspace(tmp, name), env=suite.HUB.env(tmp / "home"), stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if time.monotonic() - began > 0.05:   # it has become the engine by then
            peak = max(peak, high_water(process.pid))
        time.sleep(0.005)
    assert process.returncode == 0
    return time.monotonic() - began, peak


def main():
    files = {suite.shard(i, n=FILES): shard(str(i)) for i in range(FILES)}
    print(f"{FILES} files, {sum(map(len, files.values())) / 1e6:.0f} MB")
    with tempfile.TemporaryDirectory() as folder:
        tmp = pathlib.Path(folder)
        suite.host(files)
        for i in range(ROUNDS):
            shutil.rmtree(tmp / "home", ignore_errors=True)
            for state in ("cold", "warm"):
                seconds, peak = measure(tmp, f"{state}{i}")
                print(f"{state}: {seconds:.2f} s, {peak / 1e6:.1f} MB")


main()
