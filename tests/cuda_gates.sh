#!/usr/bin/env bash
# make cuda-gates: everything that can be shown about the CUDA kernels without a GPU, in full.
#   emulator   every op against kernels/ref; the attention ladder under nine schedules; the forward
#              pass of tiny models; the emulator's own test
#   NVRTC      every specialisation for every GPU generation: spills, registers, shared memory
#   primitives the kernels of tests/gpu, which wait for a GPU: no fault on the emulator, and they compile
#   fake GPU   the host runtime on the driver API, NVRTC and cuBLASLt that tests/fake_cuda makes of the
#              emulator: goldens in every order of queued work, every call failing once, whole runs
#   mutants    seeded bugs in the kernels and in the host runtime, all of which must be caught
# usage: [GATE_ARCHS="sm_80 ..."] cuda_gates.sh BUILD_FOLDER [PART]. Prints what failed, the counts and the times of each gate.
# PART: only gates with PART in their name, which are the words in front above and those of the lines "== NAME".
# GATE_ARCHS: the generations to compile for; all of them when it is not set.
unset MAKEFLAGS MFLAGS # of the make that runs this: it shares no jobs, and make would warn of that among what is parsed
build=$1 part=$2 ran=0
archs=${GATE_ARCHS:-sm_80 sm_86 sm_89 sm_90a sm_100a sm_120a}
jobs=$(nproc 2>/dev/null || echo 2)
failed=0
all=$build/tests/gates.log
: >"$all"
gate() {
    name=$1; shift
    case "$name" in *"$part"*) ran=$((ran + 1)) ;; *) return ;; esac
    log=$build/tests/gate.log
    TIMEFORMAT="%0R s, %0U + %0S s of CPU"
    { time "$@" >"$log" 2>&1; rc=$?; } 2>"$log.time"
    cat "$log" >>"$all"
    [ $rc = 0 ] && grep -E 'SKIPPED|passed' "$log" || { cat "$log"; failed=1; }
    echo "== $name: status $rc, $(cat "$log.time")"
}
gate "emulator" "$build/tests/test_cuda_emulator"
gate "rows" "$build/tests/test_cuda_rows"
gate "attention" sh -c "printf '%s\n' v3 v1 v2 | xargs -P $jobs -n 1 $build/tests/test_cuda_attention full"
gate "forward" "$build/tests/test_cuda_forward" full
if [ -f "${CUDA_HOME:-/usr/local/cuda}/include/nvrtc.h" ]; then
    gate "NVRTC" sh -c "make -s CUDA=1 build/cuda/tests/cuda_nvrtc &&
        printf '%s\n' $archs | xargs -P $jobs -n 1 build/cuda/tests/cuda_nvrtc"
    gate "primitives" sh -c "make -s CUDA=1 build/cuda/tests/gpu/primitives && build/cuda/tests/gpu/primitives emulator &&
        build/cuda/tests/gpu/primitives compile $archs"
else
    echo "SKIPPED: NVRTC: no CUDA toolkit (CUDA_HOME), so no kernel was compiled for a GPU" | tee -a "$all"
fi
if [ -f "${CUDA_HOME:-/usr/local/cuda}/include/cublasLt.h" ]; then
    gate "fake GPU" sh -c "make -s CUDA=1 fake-tests && build/cuda/tests/test_fake_cuda && build/cuda/tests/test_fake_nvrtc &&
        build/cuda/tests/test_fake_cublas"
    gate "runtime" build/cuda/tests/test_cuda_runtime full
    gate "failures" build/cuda/tests/test_cuda_failures full
    gate "whole runs" tests/fake_cuda/runs.sh build/cuda/qkengine build/fake_cuda
    gate "runtime mutants" python3 tests/cuda_runtime_mutants.py
else
    echo "SKIPPED: fake GPU: no CUDA toolkit (CUDA_HOME), so the host runtime was not tried" | tee -a "$all"
fi
gate "mutants" python3 tests/cuda_mutants.py "$build"
[ $ran != 0 ] || { echo "no gate has '$part' in its name"; exit 2; }
grep -hE '^(runtime )?mutants:' "$all"
sed -n 's/.*: \([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$all" |
    awk -v bad=$failed -v skips="$(grep -c '^SKIPPED: ' "$all")" '{ p += $1; f += $2; s += $3 }
        END { printf "cuda gates: %d passed, %d failed, %d skipped\n", p, f + (bad && !f), s + skips }'
exit $failed
