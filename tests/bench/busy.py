#!/usr/bin/env python3
"""What the threads of a run cost where other programs want the same cores: two builds of this program, in turn.

usage: busy.py OLD NEW [ROUNDS]     two programs, default 5 rounds

SmolLM2-135M (build/smollm2) in float32, 2 texts of 512 tokens, with 1 and 2 threads, beside 0, 2 and 4 processes that count for ever. Each
round runs both programs one after the other, the order changing. Printed: medians of seconds by the clock and of processor time, and the
median of the rounds' ratios of the first. The whole command is timed.
"""
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from against import MODEL, demo_text, write_jsonl

CONFIG = f"""
dataset: {{path: documents.jsonl, split: train, text_column: text}}
model: {{name: {MODEL}}}
tokenizer: {{max_length: 512}}
inference: {{batch_size: 1}}
capture: {{min_bucket_size: 128, sampler: {{type: log_uniform, base_rate: 4.0}}}}
"""


def once(program, work, threads, number):
    """Seconds by the clock, and of processor time."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([program, "run", "config.yaml", "--quiet", "--set", f"output.data_root=out{number}", "--set", f"inference.threads={threads}"],
                   cwd=work, check=True, env={**os.environ, "QKENGINE_CACHE": "off"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - begin, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    programs, rounds = [pathlib.Path(p).resolve() for p in sys.argv[1:3]], int((sys.argv[3:] or [5])[0])
    print(f"load when it began: {os.getloadavg()[0]:.1f}\n\n| beside it | threads | old: s, CPU s | new: s, CPU s | new / old |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        work, number = pathlib.Path(folder), 0
        text = demo_text() * 6
        write_jsonl(work / "documents.jsonl", [{"text": text[100 * i:]} for i in range(2)])
        (work / "config.yaml").write_text(CONFIG)
        for beside in (0, 2, 4):
            others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(beside)]
            try:
                for threads in (1, 2):
                    times = [[], []]
                    for r in range(rounds):
                        for which in ((0, 1), (1, 0))[r % 2]:
                            number += 1
                            times[which].append(once(programs[which], work, threads, number))
                    cells = [" {:.2f}, {:.2f} ".format(*(statistics.median(t) for t in zip(*of))) for of in times]
                    ratio = statistics.median(new[0] / old[0] for old, new in zip(*times))
                    print(f"| {beside} | {threads} |{cells[0]}|{cells[1]}| {ratio:.2f} |", flush=True)
            finally:
                for p in others:
                    p.kill()
                    p.wait()


if __name__ == "__main__":
    main()
