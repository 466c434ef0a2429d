"""What the suites of the Hub have to show: the edge cases below, and each fault at each kind of request.

A case or a pair counts only when the check ran and passed in that run; a suite leaves what it has shown in
build/hub-cases/<suite>.json, and tests/interop/hub_cases.py adds the suites up.
"""
import functools
import json
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "build/hub-cases"

CASES = {
    1: "path traversal in file names", 2: "path traversal in ETag, X-Repo-Commit and revision", 3: "planted links",
    4: "links, devices and secrets are not uploaded", 5: "the token stays at the endpoint", 6: "no token in messages",
    7: "TLS is verified", 8: "sizes that do not fit", 9: "contents that do not fit", 10: "partial files",
    11: "ranges that are ignored or wrong", 12: "compressed though nobody asked", 13: "full disks",
    14: "several processes at once", 15: "several pushers at once", 16: "the repository changes meanwhile",
    17: "wrong clocks", 18: "proxies", 19: "redirect loops and hostile Location", 20: "huge and hostile JSON",
    21: "long headers", 22: "pages of a listing", 23: "names that are alike or in each other's way",
    24: "files of zero bytes", 25: "files that change while they are sent", 26: "the same content twice, or there already",
    27: "odd replies to the LFS batch", 28: "multipart uploads", 29: "upload URLs that expired",
    30: "commits with an unknown end", 31: "what 401 and 403 mean", 32: "gated repositories", 33: "offline",
    34: "renamed repositories", 35: "odd ETags", 36: "a cache that is read only", 37: "umask and shared folders",
    38: "signals", 39: "no Expect: 100-continue", 40: "IPv6, and requests that are sent again", 41: "a server that is not the Hub",
    42: ".gitattributes stays", 43: "whose folders are touched",
}
# Parts of a case that no test here can reach, and why.
OUT_OF_REACH = {
    18: "NO_PROXY with address ranges: needs a network behind the proxy",
    40: "HTTP/2: no server of Python's standard library speaks it",
}

FAULTS = ["refused", "reset in the body", "truncated", "429", "429 Retry-After", "429 RateLimit", "500", "503", "504",
          "slow loris", "wrong ETag", "wrong SHA", "expired URL", "401", "403", "404", "409", "412", "other host", "loop",
          "garbage"]

LEGEND = "r: asked again, done; 0: done all the same; 1, 3: that exit status, done by the next run; -: cannot be"

_passed = {}   # number of a case -> tests about it
_pairs = {}    # kind of request -> fault -> how it ended, or why there is no such thing


def case(*numbers):
    """Marks a test as one about these edge cases."""
    def mark(test):
        @functools.wraps(test)
        def counted(*arguments):
            said = test(*arguments)
            if not (isinstance(said, str) and said.startswith("SKIPPED")):
                for n in numbers:
                    _passed.setdefault(n, []).append(test.__name__)
            return said
        return counted
    return mark


def pair(kind, fault, ended):
    """A fault at a kind of request was checked; `ended` is a word: "retried", "done", "status 1", or "- " and why it cannot be."""
    assert fault in FAULTS, fault
    _pairs.setdefault(kind, {})[fault] = ended


def keep(suite):
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{suite}.json").write_text(json.dumps({"cases": _passed, "pairs": _pairs}, indent=1))


def say():
    """One line for the suite that ran."""
    print(f"edge cases of the Hub: {len(_passed)} of {len(CASES)} cases covered by this suite "
          f"({', '.join(map(str, sorted(_passed)))})")


# ---- all suites together ----

def print_cases(suites):
    """suites: {name: what keep() wrote}; returns how many cases are covered."""
    covered = 0
    for n, title in CASES.items():
        where = [f"{suite}: {', '.join(kept['cases'][str(n)])}" for suite, kept in suites.items() if str(n) in kept["cases"]]
        covered += bool(where)
        print(f"{n:3} {title}: {'; '.join(where) or 'NOT COVERED'}")
    for n, why in OUT_OF_REACH.items():
        print(f"    of {n} not: {why}")
    missing = [f"{n} {title}" for n, title in CASES.items() if not any(str(n) in kept["cases"] for kept in suites.values())]
    print(f"edge cases of the Hub: {covered} of {len(CASES)} cases covered" + (f"; not: {', '.join(missing)}" if missing else ""))
    return covered


def print_pairs(suites):
    """Returns the number of holes."""
    holes, reasons, checked = [], [], 0
    for suite, kept in suites.items():
        if not kept["pairs"]:
            continue
        print(f"{suite}: each fault at each kind of request; {LEGEND}")
        width = max(map(len, kept["pairs"]))
        for row in range(max(map(len, FAULTS))):
            print(" " * width, " ".join(f.rjust(max(map(len, FAULTS)))[row] for f in FAULTS).rstrip())
        for kind, ended in kept["pairs"].items():
            marks = []
            for fault in FAULTS:
                how = ended.get(fault)
                if how is None:
                    holes.append(f"{suite}: {fault} at {kind}")
                elif how.startswith("- "):
                    reasons.append((how[2:], f"{fault} at {kind}"))
                else:
                    checked += 1
                marks.append({None: "?", "retried": "r", "done": "0", "status 1": "1", "status 3": "3"}.get(how, "-"))
            print(kind.ljust(width), " ".join(marks))
    for why in dict.fromkeys(r for r, _ in reasons):
        print(f"  - {why}: {', '.join(where for r, where in reasons if r == why)}")
    print(f"faults at requests: {checked} pairs checked, {len(reasons)} cannot be, {len(holes)} holes"
          + (f": {'; '.join(holes)}" if holes else ""))
    return len(holes)
