"""What the machine code of attention_v3's main loop consists of: for kernels/SPEED.md, without a GPU.

    python3 tests/bench/machine_code.py sm_90a [-DHAS_WINDOW=1 ...]     needs nvcc and nvdisasm in PATH

The main loop is the shortest one around all tensor core instructions. Blocks without tensor core instructions
and copies that a branch jumps over (masks, shrinking of sums) are not on the path and counted apart.
"""
import collections, re, shutil, subprocess, sys, tempfile


PLAIN = {"HAS_WINDOW": 0, "HAS_SOFT_CAP": 0, "HAS_CAPTURE": 1, "PADDED": 0}


def disassemble(arch, head_dim, defines):
    code, labels = [], {}
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        subprocess.run(["nvcc", "-I.", "-cubin", f"-arch={arch}", f"-DHEAD_DIM={head_dim}", *defines, "-o", cubin.name,
                        "kernels/cuda/attention_v3.cu"], check=True)
        text = subprocess.run(["nvdisasm", "-c", cubin.name], capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        if m := re.match(r"\s*(\.L_x_\d+):", line):
            labels[m[1]] = len(code)
        elif m := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(.*?);", line):
            code.append(m[1])
    return code, labels


def main_loop(code, labels):
    products = [i for i, x in enumerate(code) if "HMMA" in x]
    jumps = [(i, labels[m[1]]) for i, x in enumerate(code) if (m := re.search(r"BRA.*`\((\.L_x_\d+)\)", x)) and m[1] in labels]
    around = [(to, at) for at, to in jumps if to <= at and products and to < products[0] and at > products[-1]]
    begin, end = min(around, key=lambda l: l[1] - l[0])
    skipped = [(at + 1, to) for at, to in jumps if begin <= at and at + 40 < to <= end
               and not any(re.search("HMMA|LDGSTS", x) for x in code[at + 1 : to])]
    path = [i for i in range(begin, end + 1) if not any(a <= i < b for a, b in skipped)]
    return path, [b - a for a, b in skipped]


def main():
    if len(sys.argv) < 2 or not (shutil.which("nvcc") and shutil.which("nvdisasm")):
        sys.exit("usage: machine_code.py ARCH [-DNAME=VALUE ...], with nvcc and nvdisasm of the CUDA toolkit in PATH")
    defines = sys.argv[2:] + [f"-D{k}={v}" for k, v in PLAIN.items() if not any(d.startswith(f"-D{k}") for d in sys.argv)]
    print(f"| {sys.argv[1]}, d | on the path | mma | ldmatrix | everything else | jumped over |\n|---:|---:|---:|---:|---:|---|")
    for head_dim in (64, 80, 96, 128, 256):
        code, labels = disassemble(sys.argv[1], head_dim, defines)
        path, skipped = main_loop(code, labels)
        names = collections.Counter(re.sub(r"^@!?U?P\w+\s+", "", code[i]).split()[0].split(".")[0] for i in path)
        n, products, loads = len(path), names["HMMA"], names["LDSM"]
        print(f"| {head_dim} | {n} | {products} | {loads} | {n - products - loads} | {', '.join(map(str, skipped))} |")


main()
