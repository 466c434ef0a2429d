"""Seeded bugs in the host runtime of the CUDA backend: each must fail the tests on the fake GPU.

A mutant is one edit of one file of kernels/cuda, or of how the engine reads layers beside it: a wait, an event or an attribute is dropped, an
order turned around. It is compiled, linked with the test that covers it, and run; a mutant that
passes is printed and makes this script fail. The last line counts.

    python3 tests/cuda_runtime_mutants.py [WORD]    after `make CUDA=1 fake-tests`, with the goldens
                                                     (QK_SHARED); WORD: only
                                                     mutants that contain it
"""
import concurrent.futures, os, pathlib, shutil, subprocess, sys

BUILD, FAKE = pathlib.Path("build/cuda"), pathlib.Path("build/fake_cuda")
ONLY = sys.argv[1] if len(sys.argv) > 1 else ""
TREE = BUILD / "mutants"
CUDA = os.environ.get("CUDA_HOME", "/usr/local/cuda")
FLAGS = ["-O1", "-std=c11", "-D_GNU_SOURCE", "-DQK_CUDA", "-w", "-ffp-contract=off", "-isystem", CUDA + "/include", "-I."]
RUN, FAIL = ["test_cuda_runtime", "quick"], ["test_cuda_failures"]

# file, what is wrong, test, text, its replacement (the first occurrence)
MUTANTS = [
    ("machine.c", "the copy stream does not wait for captured rows", RUN, "!CUDA_CALL(own, doing, cuStreamWaitEvent, own->copy, own->captured, 0) ||\n", ""),
    ("machine.c", "rows come back on the compute stream", RUN, "(CUdeviceptr)from, bytes, own->copy)", "(CUdeviceptr)from, bytes, own->compute)"),
    ("machine.c", "the copies' event is recorded in the wrong stream", RUN, "cuEventRecord, s->copied, own->copy", "cuEventRecord, s->copied, own->compute"),
    ("machine.c", "a layer's copies are not waited for", RUN, 'CUDA_CALL(own, "waiting for captured rows", cuEventSynchronize, s->copied);', ""),
    ("machine.c", "a layer's kernels are not waited for", RUN, 'CUDA_CALL(own, "waiting for a layer", cuEventSynchronize, s->computed);', ""),
    ("machine.c", "layers do not take turns", RUN, "own->segment = 1 - own->segment;", ""),
    ("machine.c", "the host waits for the compute stream after every layer", RUN, "    s->ended = true;\n", '    s->ended = true;\n    CUDA_CALL(own, "x", cuStreamSynchronize, own->compute);\n'),
    ("machine.c", "the last copies are not waited for", RUN, 'CUDA_CALL(own, "waiting for the GPU", cuStreamSynchronize, own->copy);', ""),
    ("machine.c", "rows of the newer layer first", RUN, "settle(own, &own->segments[1 - own->segment], true); /* the older one first */", ""),
    ("machine.c", "lists are not copied to page-locked memory", RUN, "(CUdeviceptr)to, from, bytes, own->compute", "(CUdeviceptr)to, src, bytes, own->compute"),
    ("machine.c", "routes are read before they are there", RUN, "CUDA_CALL(own, doing, cuStreamSynchronize, own->compute))", "1)"),
    ("machine.c", "a failure is not told", FAIL, "if (own->failure.status) *err = own->failure;\n    return own->failure.status;", "return QK_OK;"),
    ("machine.c", "an event is not destroyed", RUN, "if (s->copied) own->driver->cuEventDestroy(s->copied);", ""),
    ("memory.c", "a buffer is filled while it is read", RUN, 'if (!CUDA_CALL(own, "copying to the GPU", cuEventSynchronize, own->bounces[i].free)) return;', ""),
    ("memory.c", "nobody records that a buffer is free", RUN, 'CUDA_CALL(own, "copying to the GPU", cuEventRecord, own->bounces[i].free, own->compute);', ""),
    ("memory.c", "what comes back is read too early", RUN, "!CUDA_CALL(own, doing, cuStreamSynchronize, own->compute))", "0)"),
    ("memory.c", "a pool's block is one byte short", RUN, "b->used += bytes;", "b->used += bytes - 256;"),
    ("memory.c", "a pool is never freed", RUN, "cuMemFree(pool->blocks[i].device)", "cuMemGetInfo(&(size_t){0}, &(size_t){0})"),
    ("gemm.c", "sums may be split", RUN, "{CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &whole_sums},", ""),
    ("gemm.c", "the weight is not transposed", RUN, "transposed = CUBLAS_OP_T", "transposed = CUBLAS_OP_N"),
    ("gemm.c", "always adds", RUN, "beta = accumulate ? 1 : 0", "beta = 1"),
    ("gemm.c", "never adds", RUN, "beta = accumulate ? 1 : 0", "beta = 0"),
    ("gemm.c", "the alignment of x is not told", RUN, "x = (uint32_t)k->x_alignment", "x = WIDEST_ALIGNMENT"),
    ("gemm.c", "a bias changes nothing", RUN, "p->key.bias ||", "1 ||"),
    ("gemm.c", "rows as far apart as they are long", RUN, "(int64_t)k->y_stride", "(int64_t)k->out"),
    ("gemm.c", "layouts are not destroyed", RUN, "if (y) own->products->blas->cublasLtMatrixLayoutDestroy(y);", ""),
    ("functions.c", "nobody asks for more shared memory", RUN, "return CUDA_CALL(own, l->kernel, cuFuncSetAttribute, f->function,\n                     CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, f->shared_limit)\n               ? f->function\n               : NULL;", "return f->function;"),
    ("functions.c", "modules stay", RUN, "own->driver->cuModuleUnload(own->modules[i].module);", ";"),
    ("functions.c", "builds that differ in their defines are one", RUN, "!strcmp(a->defines, b->defines)", "1"),
    ("functions.c", "a damaged cubin is the end", RUN, "result != CUDA_ERROR_INVALID_IMAGE || fresh", "1"),
    ("compile.c", "cubins are never kept", RUN, 'if (s == QK_OK) qk_kept_write("cubins", name, out->data, out->size);', ""),
    ("compile.c", "a header is not handed over", RUN, "names[n] = h->name;", 'names[n] = n == 1 ? "x" : h->name;'),
    ("backend_cuda.c", "a failure frees what the GPU works on", FAIL, "cuda_error_text(own->driver, result), available);\n    cuda_drain(own);", "cuda_error_text(own->driver, result), available);"),
    ("backend_cuda.c", "streams stay", RUN, "if (own->copy) driver->cuStreamDestroy(own->copy);", ""),
    ("backend_cuda.c", "old drivers are welcome", FAIL, "g->version < OLDEST_DRIVER", "0"),
    ("backend_cuda.c", "old GPUs are welcome", FAIL, "g->major < OLDEST_GPU", "0"),
    ("libraries.c", "absent functions are not noticed", FAIL, "if (!address) {", "if (0) {"),
    ("ops_attention.c", "window and soft cap of the build exchanged", RUN, "all[p->window > 0][p->soft_cap > 0]", "all[p->soft_cap > 0][p->window > 0]"),
    ("ops_attention.c", "a padded head in a build that is not", RUN, "is_padded ? V3_PADDED :", ""),
    ("engine/forward/forward.c", "a layer's weights are given back while it is queued", RUN, "qk_model_layer_done(f->m, l);", "qk_model_layer_done(f->m, l + queued);"),
    ("engine/model/layer_stream.c", "a layer is handed over before it has arrived", RUN, "return r->backend->sync(r->device, 0, err);", "return QK_OK;"),
    ("engine/model/layer_stream.c", "buffers are freed while they are filled", RUN, "if (r.device) b->sync(r.device, 0, &err);", ""),
    ("engine/model/layer_stream.c", "the loader's handle stays open", RUN, "    b->close(r.device);\n", ""),
]


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **more)


def try_mutant(number, libs):
    path, what, test, old, new = MUTANTS[number]
    source = pathlib.Path(path if "/" in path else f"kernels/cuda/{path}").read_text()
    path = pathlib.Path(path).name
    if old not in source:
        return number, "BROKEN", "the text to replace is not there"
    tree = TREE / ("runtime%d" % number)
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "tests").mkdir(parents=True)
    (tree / path).write_text(source.replace(old, new, 1))
    r = run(["gcc", *FLAGS, "-c", "-o", tree / "mutant.o", tree / path])
    if r.returncode:
        return number, "BROKEN", "does not compile: " + r.stdout.strip().splitlines()[0]
    program, main = tree / "tests" / test[0], [tree / "mutant.o", f"{BUILD}/libqkengine.a"]
    link = ["gcc", f"{BUILD}/tests/{test[0]}.o", *main, f"{FAKE}/libfakecuda.so", f"-Wl,-rpath,{FAKE.resolve()}", *libs]
    r = run([*link, "-o", program])
    if r.returncode == 0 and test is FAIL:
        r = run(["gcc", f"{BUILD}/engine/main.o", *main, *libs, "-o", tree / "qkengine"])
    if r.returncode:
        return number, "BROKEN", r.stdout.strip().splitlines()[-1]
    try:
        r = run([program, *test[1:]], timeout=3600, env={**os.environ, "TEST_STOP": "1"})
    except subprocess.TimeoutExpired:
        return number, "caught", "runs for ever"
    lines = [l.split("failed: ", 1)[-1] for l in r.stdout.splitlines() if ": failed: " in l]
    shutil.rmtree(tree)
    if r.returncode == 0:
        return number, "MISSED", ""
    if r.returncode < 0:
        return number, "caught", f"crashed with signal {-r.returncode}"
    return number, "caught", lines[0].split("): ", 1)[-1] if lines else r.stdout.strip().splitlines()[-1]


def main():
    libs = run(["make", "-s", "print-libs"]).stdout.split()
    numbers = [i for i, m in enumerate(MUTANTS) if ONLY in m[0] + " " + m[1]]
    score = {"caught": 0, "MISSED": 0, "BROKEN": 0}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for number, verdict, why in pool.map(lambda n: try_mutant(n, libs), numbers):
            score[verdict] += 1
            print(f"{verdict}  {MUTANTS[number][0]:16} {MUTANTS[number][1]:56} {why[:120]}", flush=True)
    print(f"runtime mutants: {score['caught']} passed, {score['MISSED'] + score['BROKEN']} failed, 0 skipped")
    return 0 if score["caught"] == len(numbers) else 1


sys.exit(main())
