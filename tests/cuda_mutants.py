"""Seeded bugs: each mutant of a CUDA kernel must fail the emulator's tests.

A mutant is one edit of one file: a barrier or wait is dropped, a lane, bound, sign or scale is wrong.
The mutated kernels are compiled for the emulator and linked with the test program that covers them;
a mutant that passes is printed and makes this script fail. The last line counts.

    python3 tests/cuda_mutants.py build/cpu [WORD]     after `make cuda-gates` has built the tests;
                                                       WORD: only mutants that contain it
"""
import concurrent.futures, glob, os, pathlib, shutil, subprocess, sys

BUILD = pathlib.Path(sys.argv[1])
ONLY = sys.argv[2] if len(sys.argv) > 2 else ""
TREE = BUILD / "mutants"
FLAGS = ["-O1", "-std=c11", "-D_GNU_SOURCE", "-w", "-ffp-contract=off", "-DQK_EMULATOR"]
ATTENTION, ROWS = "test_cuda_attention", "test_cuda_rows"
DIMS_F32 = [("HEAD_DIM_F32", d) for d in (64, 80, 96, 128)]
DIMS, FORMATS, VECS = [("HEAD_DIM", d) for d in (64, 80, 96, 128, 256)], [("FORMAT", 0), ("FORMAT", 1)], [("VEC", 1), ("VEC", 4)]

K_WAIT = "copy_wait(0);\n        sync_block(); /* K_n"
V_WAIT = "copy_wait(0);\n        sync_block(); /* V_n is there for all; all are done with K_n */\n"
NEXT_K = "        from += to_k;\n        valid = BN; /* only the first block can be cut */\n        if (ahead < last) load_tile(a, k_tile, &from, BN, valid);\n"

# file, what is wrong, text, its replacement (the first occurrence)
MUTANTS = [
    ("attention_v3.cu", "no wait for K", K_WAIT, "sync_block(); /* K_n"),
    ("attention_v3.cu", "no barrier after the wait for K", K_WAIT, "copy_wait(0); /* K_n"),
    ("attention_v3.cu", "no wait for V", V_WAIT, "sync_block();\n"),
    ("attention_v3.cu", "no barrier after the wait for V", V_WAIT, "copy_wait(0);\n"),
    ("attention_v3.cu", "a wait that leaves one group on its way", V_WAIT, V_WAIT.replace("wait(0)", "wait(1)")),
    ("attention_v3.cu", "the next K is requested before all are done with this one", V_WAIT + NEXT_K, NEXT_K + V_WAIT),
    ("attention_v3.cu", "the first group is not committed", "load_tile(a, k_tile, &from, BN, valid);\n    copy_commit();", "load_tile(a, k_tile, &from, BN, valid);"),
    ("attention_v3.cu", "V of the block before", "from += to_v;", "from += to_v - (ahead < last ? BN * a->qkv_stride : 0);"),
    ("attention_v3.cu", "K of the same block again", "- below - BN * a->qkv_stride", "- below"),
    ("attention_v3.cu", "the cut of the first block is kept", "valid = BN; /* only", "/* only"),
    ("attention_v3.cu", "rows beyond the sequence are read", "r < valid &&", "1 &&"),
    ("attention_v3.cu", "no swizzle", "(c ^ swizzle)", "c"),
    ("attention_v3.cu", "chunks across as if there were no swizzle", "(at ^ (u32)(16 * (2 * k % GROUP)))", "(at + (u32)(16 * (2 * k % GROUP)))"),
    ("attention_v3.cu", "8 of 16 rows down", "down(across(q_at, k), 16 * t)", "down(across(q_at, k), 8 * t)"),
    ("attention_v3.cu", "swizzle of 80 and 96 by the wrong rows", "r / (8 / GROUP) % GROUP", "r % GROUP"),
    ("attention_v3.cu", "swizzle beyond the row's end", "r / (8 / GROUP) % GROUP", "r % 8"),
    ("attention_v3.cu", "window one too wide", "k <= q - a->window", "k < q - a->window"),
    ("attention_v3.cu", "window one too narrow", "k <= q - a->window", "k <= q - a->window + 1"),
    ("attention_v3.cu", "a query sees the next key", "if (k > q ||", "if (k > q + 1 ||"),
    ("attention_v3.cu", "a query does not see itself", "if (k > q ||", "if (k >= q ||"),
    ("attention_v3.cu", "mask on the wrong side", "if (k > q ||", "if (k < q ||"),
    ("attention_v3.cu", "the window's first block is skipped", "(first_q - a->window + 1) / BN;", "(first_q - a->window + BN) / BN;"),
    ("attention_v3.cu", "a diagonal block without its mask", "if (ahead < BN - 1 ||", "if (ahead < 0 ||"),
    ("attention_v3.cu", "a window's edge without its mask", "ahead + BM > a->window", "ahead > a->window"),
    ("attention_v3.cu", "the last block of keys is forgotten", "(end - t.seq_begin + BN - 1) / BN", "(end - t.seq_begin) / BN > 0 ? (end - t.seq_begin) / BN : 1"),
    ("attention_v3.cu", "a score that is not scaled", "x->s[t][j][e] * a->unit - base", "x->s[t][j][e] - base"),
    ("attention_v3.cu", "soft cap with the other unit", "x.s[i][j][e] * a->cap_unit", "x.s[i][j][e] * a->unit"),
    ("attention_v3.cu", "sums are not corrected", "x->l[t][h] *= correction[t][h];", ""),
    ("attention_v3.cu", "outputs are not corrected", "x->o[t][j][2 * h + 1] *= correction[t][h];", ""),
    ("attention_v3.cu", "half of the rows have no vote", "raised |= largest > old;", "raised |= largest > old && h == 0;"),
    ("attention_v3.cu", "the last row alone votes", "raised |= largest > old;", "raised = largest > old;"),
    ("attention_v3.cu", "nothing seen yet gives NaN", "m == minus_infinity() ? 0 : m * a->unit", "m * a->unit"),
    ("attention_v3.cu", "sum of half a quad", "sum += shuffle_xor(sum, 2);", ""),
    ("attention_v3.cu", "maximum of half a quad", "largest = larger(largest, shuffle_xor(largest, 2));", ""),
    ("attention_v3.cu", "keys in the wrong lanes", "lane % 8 + lane / 16 * 8", "lane % 16"),
    ("attention_v3.cu", "wrong fragment of V", "mma_16x8x16(x->o[t][2 * j], p[t], b[0], b[1]);", "mma_16x8x16(x->o[t][2 * j], p[t], b[0], b[2]);"),
    ("attention_v3.cu", "V not transposed", "ldmatrix4_transposed(b", "ldmatrix4(b"),
    ("attention_v3.cu", "p of the neighbouring key", "pack_bf16(x->s[t][2 * k + i / 2][2 * (i % 2)]", "pack_bf16(x->s[t][2 * k + i / 2][2 * (i % 2) + 1]"),
    ("attention_v3.cu", "rows of the wrong warp", "row = thread_id() / WARP * 16 * MT;", "row = thread_id() / WARP * 16;"),
    ("attention_v3.cu", "stores into the wrong row", "16 * t + lane / 4 + 8 * h", "16 * t + lane / 4 + 4 * h"),
    ("attention_v3.cu", "stores one row too many", "row >= tile.seq_end", "row > tile.seq_end"),
    ("attention_v3.cu", "the wrong key head", "t.head / (a->H / a->K)", "t.head % a->K"),
    ("attention_v3.cu", "padding is not cleared", "(!PADDED || 8 * c < a->d)", "1"),
    ("attention_v3.cu", "captures after o has overwritten q", "store_rows(a, &x);", "store_rows(a, &x); if (HAS_CAPTURE) capture_tile(a, &t, end, 2, thread_id() / WARP, WARPS);"),
    ("attention_v3.cu", "log-sum-exp of a maximum without its scale", "x->m[t][h] * (HAS_SOFT_CAP && a->soft_cap > 0 ? a->soft_cap : a->scale)", "x->m[t][h]"),
    ("attention_v3.cu", "log-sum-exp with the scale in place of the cap", "HAS_SOFT_CAP && a->soft_cap > 0 ? a->soft_cap : a->scale", "a->scale"),
    ("attention_v3.cu", "log-sum-exp of one thread's part of the sum", "a->scale),\n                            sum);", "a->scale),\n                            x->l[t][h]);"),
    ("attention_v2.cu", "log-sum-exp of the thread's first row", "m[i], l[i]);", "m[0], l[0]);"),
    ("attention_v1.cu", "log-sum-exp without the maximum", "largest, sum);", "0, sum);"),
    ("capture.h", "log-sum-exp: base 2", "m + log_exact(l)", "m + log_exact(l) * LOG2E"),
    ("capture.h", "log-sum-exp: to all heads", "if (base >= 0) st_f32", "st_f32"),
    ("capture.h", "log-sum-exp: of any row of the word", ".row) != row) continue;\n        int base = ld_i32(a->q.base", ".row) < 0) continue;\n        int base = ld_i32(a->q.base"),
    ("capture.h", "capture: values from the keys' columns", "*v = k + (long long)a->K * bytes", "*v = k"),
    ("attention_v2.cu", "no barrier before V replaces K", "sync_block(); /* K has been used; p is there */", ""),
    ("attention_v2.cu", "no barrier before K is used", "t.seq_end, k_col);\n        sync_block();", "t.seq_end, k_col);"),
    ("attention_v2.cu", "no barrier before K replaces V", "sync_block(); /* V of the last step has been used */", ""),
    ("attention_v2.cu", "window one too wide", "k <= q - a->window", "k < q - a->window"),
    ("attention_v2.cu", "sums are not corrected", "l[i] * correction + sum", "l[i] + sum"),
    ("attention_v2.cu", "columns exchanged", "+ c % 2;", "+ 1 - c % 2;"),
    ("attention_v1.cu", "window one too narrow", "row - a->window + 1", "row - a->window + 2"),
    ("attention_v1.cu", "a warp's neighbour's row", "t.first + warp);", "t.first + (warp ^ 1));"),
    ("capture.h", "capture: the row after", "head_0 + row * stride", "head_0 + (row + 1) * stride"),
    ("capture.h", "capture: one row of the next tile", "row >= end)", "row > end)"),
    ("capture.h", "capture: every query head writes its key head", "t->head % group == 0", "1"),
    ("capture.h", "capture: the last word of tokens is forgotten", "(end - 1) / 32 + 1", "(end - 1) / 32"),
    ("capture.h", "capture: all rows at one place", "base + ld_i32(&kind->rows[e].index)", "base"),
    ("capture.h", "capture: key heads as if they were query heads", "t->head / group, a->K", "t->head, a->K"),
    ("gather.cu", "gather: keys from the queries' columns", "+ a.first_col", ""),
    ("rows.h", "a sum over all warps but the last", "w < warps", "w < warps - 1"),
    ("rows.h", "no barrier in the sum", "sync_block();\n    v = 0", "v = 0"),
    ("rows.h", "half a warp's sum", "(mask, 16)", "(mask, 8)"),
    ("rmsnorm.cu", "norm without eps", "(float)D + eps", "(float)D"),
    ("rmsnorm.cu", "weight without its shift", "v[i] * norm * (w[i] + shift)", "v[i] * norm * w[i]"),
    ("rmsnorm.cu", "add without its scale", "a.scale * v[u][i]", "v[u][i]"),
    ("embed.cu", "halves of a pair exchanged", "16 * (i % 2)", "16 - 16 * (i % 2)"),
    ("embed.cu", "embedding not rounded", "if (format == KERNEL_BF16) return bf16_to_f32(f32_to_bf16(v));", ""),
    ("glu.cu", "gate and up exchanged", "activate(x[u][i], a.activation) * y[u][i]", "activate(y[u][i], a.activation) * x[u][i]"),
    ("glu.cu", "a wrong constant", "0.044715f", "0.0447f"),
    ("qkv_post.cu", "RoPE turns the other way", "is_second ? x * cosine + y * sine", "is_second ? x * cosine - y * sine"),
    ("qkv_post.cu", "RoPE in registers turns the other way", "*y = *y * cosine + *x * sine;", "*y = *y * cosine - *x * sine;"),
    ("qkv_post.cu", "the partner of the next piece", "4 * j + a->rotary / 2", "4 * j + a->rotary / 2 + 4"),
    ("qkv_post.cu", "a piece of the rest turns", "x.turns = a->cos && 8 * j < a->rotary;", "x.turns = a->cos && 8 * j <= a->rotary;"),
    ("qkv_post.cu", "the norm of half a head", "mask = mine->lanes / 2;", "mask = mine->lanes / 4;"),
    ("qkv_post.cu", "lanes beyond the head's end store too", "(a->has_v ? 2 : 1) || !mine->inside) return;", "(a->has_v ? 2 : 1)) return;"),
    ("qkv_post.cu", "the last group of heads is forgotten", "first < heads; first += HEADS_AHEAD", "first + HEADS_AHEAD * groups <= heads; first += HEADS_AHEAD"),
    ("qkv_post.cu", "no barrier between staging and RoPE", "    sync_warp();\n}", "}"),
    ("qkv_post.cu", "no barrier before the next head", "    sync_warp(); /* before the next head takes the place */\n", ""),
    ("qkv_post.cu", "the number past the rotary part turns", "c >= a->rotary", "c > a->rotary"),
    ("qkv_post.cu", "keys are scaled too", "if (x.is_q) v *= scale;", "v *= scale;"),
    ("qkv_post.cu", "captures ignore the chunk", "(a->first_row + block_id()) / 32", "block_id() / 32"),
    ("qkv_post.cu", "one norm for all heads of a kind", "x.w += x.of_kind * a->d", "x.w += 0"),
    ("experts.cu", "ties go to the higher number", "other_e < *e", "other_e > *e"),
    ("experts.cu", "an expert starts after its own pairs", "thread_id()) < expert", "thread_id()) <= expert"),
    ("experts.cu", "no barrier around the counts", "    sync_block();\n    *total = 0", "    *total = 0"),
    ("experts.cu", "counts are overwritten while they are read", "    sync_block(); /* the last round's counts have been read */\n", ""),
    ("experts.cu", "renormalised by another lane's weight", "    sync_warp();\n    for (int k = lane; a.renormalise", "    for (int k = lane; a.renormalise"),
    ("experts.cu", "adds without the weight", "weight * y[u][j]", "y[u][j]"),
    ("rows.h", "the last piece of a sweep is not read", "if (PIECE(c, u) < n) ld_vec", "if (PIECE(c, u) < n - VEC) ld_vec"),
    ("rows.h", "sweeps overlap", "c += AHEAD * THREADS * VEC)", "c += THREADS * VEC)"),
]


def builds(path):
    """The .cu files that a mutated file is part of, each with its specialisations and its test."""
    table = {
        "attention_v1": (FORMATS, [ATTENTION, "small", "v1"]), "attention_v2": (DIMS + DIMS_F32, [ATTENTION, "small", "v2"]),
        "attention_v3": (DIMS, [ATTENTION, "small", "v3"]), "gather": (FORMATS, [ROWS]),
        **{f: (VECS, [ROWS]) for f in ("embed", "rmsnorm", "glu", "qkv_post", "experts")},
    }
    name = path.split(".")[0]
    parts = {"capture": ["attention_v3"], "rows": ["rmsnorm", "qkv_post", "experts"]}.get(name, [name])
    return [(p, *table[p]) for p in parts]


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def try_mutant(number, libs):
    path, what, old, new = MUTANTS[number]
    source = pathlib.Path("kernels/cuda", path).read_text()
    if old not in source:
        return number, "BROKEN", "the text to replace is not there"
    tree = TREE / str(number)
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "kernels/cuda").mkdir(parents=True)
    (tree / "kernels/cuda" / path).write_text(source.replace(old, new, 1))
    replaced, test = {}, None
    for name, specs, test in builds(path):
        changed = tree / "kernels/cuda" / (name + ".cu")
        cu = changed if changed.exists() else pathlib.Path("kernels/cuda") / (name + ".cu")
        for macro, value in specs:
            out = tree / f"{name}.{macro}.{value}.o"
            r = run(["gcc", *FLAGS, "-x", "c", f"-I{tree}", "-I.", f"-D{macro}={value}", f"-DQK_SPEC={value}", "-c", "-o", out, cu])
            if r.returncode:
                return number, "BROKEN", "does not compile: " + r.stdout.strip().splitlines()[0]
            replaced[out.name] = str(out)
    objects = [replaced.get(os.path.basename(o), o) for o in sorted(glob.glob(f"{BUILD}/emulated/*.o"))]
    objects += sorted(glob.glob(f"{BUILD}/kernels/emulator/*.o"))
    objects += [f"{BUILD}/kernels/cuda/{n}.o" for n in ("lists", "ops", "ops_attention")]
    program = tree / test[0]
    link = ["gcc", "-o", program, f"{BUILD}/tests/{test[0]}.o", *objects, f"{BUILD}/libqkengine.a", *libs]
    r = run(link)
    if r.returncode:
        return number, "BROKEN", r.stdout.strip().splitlines()[-1]
    try:
        r = run([program, *test[1:]], timeout=3600, env={**os.environ, "TEST_STOP": "1"})
    except subprocess.TimeoutExpired:
        return number, "caught", "runs for ever"
    lines = [l.split("failed: ", 1)[-1] for l in r.stdout.splitlines() if "failed: " in l and ": failed" in l]
    shutil.rmtree(tree)
    if r.returncode == 0:
        return number, "MISSED", ""
    if r.returncode < 0:
        return number, "caught", f"crashed with signal {-r.returncode}"
    return number, "caught", lines[0].split("): ", 1)[-1] if lines else ""


def main():
    libs = run(["make", "-s", "print-libs"]).stdout.split()
    numbers = [i for i, m in enumerate(MUTANTS) if ONLY in m[0] + " " + m[1]]
    score = {"caught": 0, "MISSED": 0, "BROKEN": 0}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for number, verdict, why in pool.map(lambda n: try_mutant(n, libs), numbers):
            score[verdict] += 1
            print(f"{verdict}  {MUTANTS[number][0]:16} {MUTANTS[number][1]:62} {why[:110]}", flush=True)
    print(f"mutants: {score['caught']} of {len(numbers)} caught, {score['MISSED']} missed, {score['BROKEN']} broken")
    print(f"cuda mutants: {score['caught']} passed, {score['MISSED'] + score['BROKEN']} failed, 0 skipped")
    return 0 if score["caught"] == len(numbers) else 1


sys.exit(main())
