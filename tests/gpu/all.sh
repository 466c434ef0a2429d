#!/bin/sh
# Everything that needs a GPU, within ten minutes: builds, gpu-check, gpu-bench, lab, gpu-check under compute-sanitizer.
# usage: [GPU_BUNDLE=FOLDER] all.sh FOLDER    writes FOLDER/build.txt, gpu-check.txt, gpu-bench.txt, lab.txt, sanitizer.txt and prints what failed
[ -n "$1" ] || { echo "usage: all.sh FOLDER" >&2; exit 2; }
mkdir -p "$1" && out=$(realpath "$1") || exit 1
cd "$(dirname "$0")/../.." || exit 1
end=$(($(date +%s) + 590)) worst=0
step() { # step NAME SECONDS COMMAND...
    name=$1 limit=$2 left=$((end - $(date +%s))); shift 2
    [ $limit -lt $left ] || limit=$left
    [ $limit -gt 5 ] || { echo "$name: no time left"; worst=1; return; }
    from=$(date +%s)
    timeout $limit "$@" >"$out/$name.txt" 2>&1; rc=$?
    echo "$name: status $rc, $(($(date +%s) - from)) seconds"
    [ $rc = 0 ] || tail -n 15 "$out/$name.txt"
    [ $rc = 0 ] || [ $rc = 77 ] || worst=1 # 77: there is no such tool or GPU
}
[ -n "$GPU_BUNDLE" ] || step build 240 make -s -j"$(nproc)" CUDA=1 gpu-programs build/cuda/qkengine
[ $worst = 0 ] || exit 1
step gpu-check 290 tests/gpu/run.sh gpu-check
[ $rc = 77 ] && exit 77
[ ! -d build/gpu-captures ] || tar czf "$out/captures.tar.gz" -C build gpu-captures # for capture_golden.py --judge
step gpu-bench 200 tests/gpu/run.sh gpu-bench
step lab 60 tests/gpu/run.sh lab
step sanitizer 110 env SANITIZER=1 tests/gpu/run.sh gpu-check
exit $worst
