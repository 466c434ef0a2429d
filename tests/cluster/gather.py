#!/usr/bin/env python3
"""Waits until so many processes have had a unit. usage: gather.py STAGING COUNT LAUNCHER HELD

Each is stopped as soon as it is seen, so that it leaves work for the others; now and then it goes on for a moment, as it may hold a
lock that others wait for. HELD is a file of lines "number job" ("-": none) in the order in which they came, counted from the start;
LAUNCHER the number of the process that must live meanwhile, 0: none. It reads claims, which say who has them (engine/staging/holder.h),
a thousand times a second: the command `status` would be too slow for that.
"""
import json
import os
import pathlib
import signal
import sys
import time

HANGS = 300   # seconds


def holders(staging):
    for claim in staging.glob("unit-*.claim"):
        try:
            holder = json.loads(claim.read_text()[32:] or "{}")
        except (OSError, ValueError):   # it is gone, or half there
            continue
        if "pid" in holder:
            yield str(holder["pid"]), holder.get("job") or "-"


def tell(numbers, what):
    for number in numbers:
        try:
            os.kill(int(number), what)
        except ProcessLookupError:
            pass


def over(number):
    try:
        return pathlib.Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def main(staging, count, launcher, path):
    held = dict(line.split() for line in path.read_text().splitlines()) if path.exists() else {}
    end, nudge = time.monotonic() + HANGS, time.monotonic() + 5
    while len(held) < count:
        for number, job in holders(staging):
            if number not in held and os.path.exists(f"/proc/{number}"):
                tell([number], signal.SIGSTOP)
                held[number] = job
        if launcher and over(launcher):
            return f"the launcher has ended; these had worked: {held}"
        if time.monotonic() > end:
            return f"only these came to work: {held}"
        if time.monotonic() > nudge:
            tell(held, signal.SIGCONT)
            time.sleep(0.002)
            tell(held, signal.SIGSTOP)
            nudge = time.monotonic() + 5
        time.sleep(0.001)
    path.write_text("".join(f"{number} {job}\n" for number, job in held.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4])))
