#!/usr/bin/env python3
"""Two builds of tests/bench/cpu_kernels.c in turn: what a change of the CPU's inner loops is worth.

usage: cpu_kernels.py OLD NEW [ROUNDS [ISA [WORD]]]     two programs, default 5 rounds, avx2, all cases

Each round starts one process of each program, the order changing from round to round. Printed for each case: the medians of
the part of the peak, and the median of the rounds' ratios. More than 1 in the last column: NEW is faster.
"""
import statistics
import subprocess
import sys


def cases(program, isa, word):
    said = subprocess.run([program, isa, word], capture_output=True, text=True, check=True).stdout
    return {name: float(part) for name, _, part in map(str.split, said.splitlines())}


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    programs = sys.argv[1:3]
    rounds, isa, word = [*sys.argv[3:], *("5", "avx2", "")[len(sys.argv) - 3:]]
    seen = []
    for n in range(int(rounds)):
        parts = [None, None]
        for i in (0, 1) if n % 2 else (1, 0):
            parts[i] = cases(programs[i], isa, word)
        seen.append(parts)
    for name in seen[0][0]:
        old, new = ([parts[i][name] for parts in seen] for i in (0, 1))
        ratio = statistics.median(b / a for a, b in zip(old, new))
        print(f"{name:34} old {statistics.median(old):.3f}  new {statistics.median(new):.3f}  ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
