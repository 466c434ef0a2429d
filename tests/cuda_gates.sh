#!/bin/sh
# make cuda-gates: everything that can be shown about the CUDA kernels without a GPU, in full.
#   emulator   every op against kernels/ref; the attention ladder under nine schedules; the forward
#              pass of tiny models; the emulator's own test
#   NVRTC      every specialisation for every GPU generation: spills, registers, shared memory
#   fake GPU   the host runtime on the driver API, NVRTC and cuBLASLt that tests/fake_cuda makes of the
#              emulator: goldens in every order of queued work, every call failing once, whole runs
#   mutants    seeded bugs in the kernels and in the host runtime, all of which must be caught
# usage: cuda_gates.sh BUILD_FOLDER. Prints what failed, the counts and the seconds of each gate.
build=$1
jobs=$(nproc 2>/dev/null || echo 2)
failed=0
gate() {
    name=$1 from=$(date +%s); shift
    log=$build/tests/gate.log
    "$@" >"$log" 2>&1; rc=$?
    [ $rc = 0 ] && grep -E 'SKIPPED|passed' "$log" || { cat "$log"; failed=1; }
    echo "== $name: status $rc, $(($(date +%s) - from)) seconds"
}
gate "emulator" "$build/tests/test_cuda_emulator"
gate "rows" "$build/tests/test_cuda_rows"
gate "attention" sh -c "printf '%s\n' v3 v1 v2 | xargs -P $jobs -n 1 $build/tests/test_cuda_attention full"
gate "forward" "$build/tests/test_cuda_forward" full
if [ -f "${CUDA_HOME:-/usr/local/cuda}/include/nvrtc.h" ]; then
    gate "NVRTC" sh -c "make -s CUDA=1 build/cuda/tests/cuda_nvrtc &&
        printf '%s\n' sm_80 sm_86 sm_89 sm_90a sm_100a sm_120a | xargs -P $jobs -n 1 build/cuda/tests/cuda_nvrtc"
else
    echo "SKIPPED: NVRTC: no CUDA toolkit (CUDA_HOME), so no kernel was compiled for a GPU"
fi
if [ -f "${CUDA_HOME:-/usr/local/cuda}/include/cublasLt.h" ]; then
    gate "fake GPU" sh -c "make -s CUDA=1 fake-tests && build/cuda/tests/test_fake_cuda && build/cuda/tests/test_fake_cublas"
    gate "runtime" build/cuda/tests/test_cuda_runtime full
    gate "failures" build/cuda/tests/test_cuda_failures full
    gate "whole runs" tests/fake_cuda/runs.sh build/cuda/qkengine build/fake_cuda
    gate "runtime mutants" python3 tests/cuda_runtime_mutants.py
else
    echo "SKIPPED: fake GPU: no CUDA toolkit (CUDA_HOME), so the host runtime was not tried"
fi
gate "mutants" python3 tests/cuda_mutants.py "$build"
grep '^mutants:' "$build/tests/gate.log"
[ $failed = 0 ] && echo "cuda-gates: all passed" || echo "cuda-gates: FAILED"
exit $failed
