#!/bin/sh
# make gpu-check, gpu-bench, lab: builds with CUDA=1, then runs on the GPU. See tests/gpu/README.md.
# usage: run.sh gpu-check|gpu-bench|lab     SANITIZER=1: gpu-check under compute-sanitizer instead
# GPU_BUNDLE=FOLDER: nothing is built, the programs are those that bundle.sh put there.
# exit status: 0 all passed; 1 something failed; 77 there is no CUDA toolkit or no GPU, so nothing was tried
cd "$(dirname "$0")/../.." || exit 1
home=${CUDA_HOME:-/usr/local/cuda}
built=build/cuda
if [ -n "$GPU_BUNDLE" ]; then
    built=$(realpath "$GPU_BUNDLE")/bin
    export LD_LIBRARY_PATH="$(dirname "$built")/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    [ ! -d "$(dirname "$built")/golden" ] || export QK_SHARED="${QK_SHARED:-$(dirname "$built")}"
fi
programs=$built/tests/gpu
nothing() { echo "$1" >&2; echo "$mode: not run" >&2; exit 77; }
mode=$1
[ -n "$GPU_BUNDLE" ] || [ -f "$home/include/cublasLt.h" ] || nothing "no CUDA toolkit: $home/include/cublasLt.h is missing; CUDA_HOME names another folder"
mkdir -p build
[ -n "$GPU_BUNDLE" ] || make -s -j"$(nproc)" CUDA=1 gpu-programs build/cuda/qkengine >build/gpu-build.log 2>&1 ||
    { cat build/gpu-build.log; exit 1; }
gpu=$($programs/bench which 2>&1) || nothing "no GPU: $gpu"
# The fake GPU (tests/fake_cuda) shows that all this works; it gets small shapes and a cache that no real one sees.
case "$gpu" in *"fake GPU"*) small=small kind=fake ;; *) small='' kind=real ;; esac
export QKENGINE_CACHE="$PWD/build/gpu-cache-$kind"
log=build/gpu-section.log rows='' failed=0
echo "GPU: $gpu"
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit --format=csv
git log -1 --format='commit %h of %cs' 2>/dev/null

# section NAME COMMAND...: a row of the table from the command's last line of counts
section() {
    name=$1 from=$(date +%s); shift
    timeout 280 "$@" >$log 2>&1; rc=$?
    counts=$(sed -n 's/.*: \([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' $log | tail -n 1)
    checks=$(sed -n 's/^\([0-9]*\) checks$/\1/p' $log | tail -n 1)
    [ -n "$counts" ] || { [ $rc = 0 ] && counts='1 0 0' || counts='0 1 0'; }
    set -- $counts
    [ $rc = 0 ] || [ "$2" != 0 ] || set -- "$1" 1 "$3"
    if grep -qE '^fake GPU.*(fault|leaked)' $log; then set -- "$1" $(($2 + 1)) "$3"; fi
    echo "== $name: $1 passed, $2 failed, $3 skipped"
    if [ "$2" = 0 ]; then grep SKIPPED $log; else tail -n 40 $log; failed=1; fi
    rows="$rows| $name | $(($1 + $2 + $3)) | $checks | $2 | $3 | $(($(date +%s) - from)) |
"
}
skip() { echo "SKIPPED: $1: $2"; rows="$rows| $1 | 1 | | 0 | 1 | 0 |
"; }

check() {
    export OMP_WAIT_POLICY=passive
    shared=${QK_SHARED:-$(cd .. && pwd)/shared} capture=tests/data/capture
    [ -d "$shared/golden/capture" ] && capture=$shared/golden/capture
    [ $kind = fake ] && full='' || full=full
    section 'primitives' $programs/primitives
    section 'ops along rows' $built/tests/test_cuda_rows cuda
    section 'attention v1' $built/tests/test_cuda_attention cuda v1 $full
    section 'attention v2' $built/tests/test_cuda_attention cuda v2 $full
    section 'attention v3' $built/tests/test_cuda_attention cuda v3 $full
    section 'products' $programs/products $small
    section 'forward goldens' $built/tests/test_cuda_forward cuda all
    section 'whole runs' tests/gpu/whole_run.sh $built/qkengine
    python=build/venv/bin/python
    [ -x $python ] || python=python3
    if $python -c 'import numpy, pyarrow' 2>/dev/null; then
        section 'capture goldens' $python tests/interop/capture_golden.py $built/qkengine "$capture" --backend cuda
    else
        section 'capture goldens (kept)' $python tests/interop/capture_golden.py $built/qkengine "$capture" --backend cuda --keep build/gpu-captures
        echo "No Python with numpy and pyarrow here. Elsewhere: capture_golden.py QKENGINE $(basename "$capture") --judge build/gpu-captures"
    fi
}

sanitize() {
    sanitizer=$(command -v compute-sanitizer || echo "$home/bin/compute-sanitizer")
    [ -x "$sanitizer" ] || nothing "no compute-sanitizer in PATH or $home/bin"
    for tool in memcheck racecheck; do
        section "primitives, $tool" "$sanitizer" --tool $tool --error-exitcode 9 $programs/primitives
        section "attention v3, $tool" "$sanitizer" --tool $tool --error-exitcode 9 $built/tests/test_cuda_attention cuda v3
    done
}

bench() {
    $programs/bench $small || return 1
    if [ $kind = fake ]; then # its times mean nothing, and print as "-"
        $built/qkengine bench --quiet --backend cuda --dtype bfloat16 --tokens 60 tests/data/capture/case1_llama_log_uniform/model
        return
    fi
    $built/qkengine bench --quiet --backend cuda --dtype bfloat16 --like qwen3-8b --layers 4 --tokens 16384 --rounds 10 --against gather
}

case "$mode" in
gpu-bench) bench || exit 1 ;;
lab) $programs/lab $small || exit 1 ;;
gpu-check)
    if [ "$SANITIZER" = 1 ]; then sanitize; else check; fi
    printf '\n| section | tests | checks in them | failed | skipped | seconds |\n|---|---:|---:|---:|---:|---:|\n%s\n' "$rows"
    [ $failed = 0 ] && echo 'gpu-check: all passed' || echo 'gpu-check: FAILED'
    exit $failed ;;
*) echo "usage: run.sh gpu-check|gpu-bench|lab" >&2; exit 2 ;;
esac
