#!/usr/bin/env python3
"""The shortest decimal of a double, in ids and in JSON, against Python's repr(): all powers of two and their neighbours, doubles and
float32 values at random, subnormals, hard cases, and what people write.

usage: decimals.py
"""
import math
import random
import struct
import subprocess
import sys

import numpy as np

from common import ROOT, main

PROGRAM = ROOT / "build/cpu/tests/test_decimal"


def double(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def single(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def digits_of(text):
    """(sign, digits without zeros at the ends, place of the point) of a decimal as anybody writes it."""
    mantissa, _, exponent = text.lower().partition("e")
    sign, mantissa = mantissa.startswith("-"), mantissa.lstrip("-")
    whole, _, part = mantissa.partition(".")
    digits = (whole + part).lstrip("0")
    return sign, digits.rstrip("0"), int(exponent or 0) - len(part) + len(digits) if digits else 0


def compare(values):
    said = subprocess.run([PROGRAM, "print"], input="".join(float.hex(v) + "\n" for v in values), capture_output=True, text=True,
                          check=True).stdout.splitlines()
    assert len(said) == len(values)
    for value, line in zip(values, said):
        in_id, in_json = line.split(" ")
        assert in_id == repr(value), (value.hex(), in_id, repr(value))
        if math.isfinite(value):
            assert digits_of(in_json) == digits_of(repr(value)), (value.hex(), in_json, repr(value))
            # As C's %g with so many digits: manifests of older versions hold numbers in this form.
            n = max(1, len(digits_of(in_json)[1]))
            assert float(f"{value:.{n}g}") != value or in_json == f"{value:.{n}g}", (value.hex(), in_json)
        else:
            assert in_json == "null", in_json
    return len(values)


def neighbours(value):
    return [v for v in (value, math.nextafter(value, 0), math.nextafter(value, math.inf)) if math.isfinite(v)]


def powers_of_two(folder):
    exact = [2.0**e for e in range(-1074, 1024)]
    assert sum(float(f"{v:.{len(digits_of(repr(v))[1]) - 1}e}") != v for v in exact) == 46
    singles = [float(np.float32(2.0**e)) for e in range(-149, 128)]
    return compare([s * n for v in exact for n in neighbours(v) for s in (1, -1)] + singles)


def powers_of_ten(folder):
    return compare([n for e in range(-323, 309) for n in neighbours(float(f"1e{e}"))])


def at_random(folder):
    rng = random.Random(20)
    doubles = [double(rng.getrandbits(64)) for _ in range(100_000)]
    singles = [single(rng.getrandbits(32)) for _ in range(100_000)]
    small = [double(rng.getrandbits(rng.randint(1, 52))) for _ in range(20_000)]
    # NaNs have a sign and bits that repr() does not show
    return compare([v for v in doubles + singles + small if not math.isnan(v)])


def float32_columns(folder):
    """A float32 is widened, as pyarrow's to_pylist() and numpy's item() do."""
    rng = np.random.default_rng(3)
    column = rng.standard_normal(20_000).astype(np.float32)
    assert repr(column[0].item()) != str(column[0])
    return compare([x.item() for x in column])


def as_people_write(folder):
    rng = random.Random(4)
    written = [round(rng.uniform(-1e6, 1e6), rng.randint(0, 12)) for _ in range(20_000)]
    written += [float(rng.randrange(10**rng.randint(1, 18))) for _ in range(20_000)]
    return compare(written + [k / 1000 for k in range(20_000)] + [0.1 + 0.2, 1 / 3, 2 / 3, math.pi, math.e])


def hard_cases(folder):
    """Long known to break printers and readers."""
    texts = """5e-324 1e-323 2.2250738585072011e-308 2.2250738585072014e-308 1.7976931348623157e308 9007199254740993 9007199254740991
        9.5e-7 1e23 9.999999999999999e22 8.41e21 2.0919495182368195e19 4.8726570057e288 9.5367431640625e-07 6.631236846766476e-316
        3.237883913302901e-319 1.8531501765868567e21 3.347727380279489e33 7.346839692639297e13 1.9430376160308388e16 5.9604644775390625e-8
        4.35 4.349999999999999 0.000244140625 1.2345678901234567e-300 123456789012345680 4.4501477170144023e-308 -0.0 inf -inf""".split()
    return compare([n for t in texts for n in ([float(t)] if "inf" in t else neighbours(float(t)))])


if __name__ == "__main__":
    subprocess.run(["make", "-s", PROGRAM.relative_to(ROOT)], cwd=ROOT, check=True)
    sys.exit(main("decimals", [powers_of_two, powers_of_ten, at_random, float32_columns, as_people_write, hard_cases]))
