#!/bin/sh
# Whole runs of the demo on the fake GPU: the same files in every order of queued work, with two layers in memory, and after a run whose GPU failed in the
# middle and that was started again; close to what the CPU writes. usage: runs.sh QKENGINE FOLDER_OF_THE_FAKE
engine=$1 fake=$2 failed=0 more=
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export QKENGINE_CACHE="$work/cache"

# run NAME BACKEND [VARIABLE=VALUE]...: prints the exit status
run() {
    name=$1 backend=$2; shift 2
    sed "s|demo-output|$work/$name|; s|float32|${dtype:-float32}|" configs/demo.yaml >"$work/$name.yaml"
    env "$@" LD_LIBRARY_PATH="$fake" "$engine" run "$work/$name.yaml" --backend "$backend" $more >"$work/$name.log" 2>&1
    echo $?
}
expect() { # WHAT GOT WANTED
    [ "$2" = "$3" ] && return
    echo "failed: $1: $2, expected $3"; cat "$work"/*.log; failed=$((failed + 1))
}
same_files() {
    diff -r "$work/$1/final" "$work/$2/final" >/dev/null 2>&1 || { echo "failed: $1 and $2 wrote different files"; failed=$((failed + 1)); }
}
no_reports() { # of the fake; "fake GPU (emulator)" is its name
    grep 'fake GPU[,:]' "$work/$1.log" && { echo "failed: the fake reports what $1 did"; failed=$((failed + 1)); }
}

for dtype in float32 bfloat16; do
    expect "eager $dtype" "$(run eager cuda FAKE_CUDA_ORDER=eager)" 0
    expect "latest $dtype" "$(run latest cuda FAKE_CUDA_ORDER=latest)" 0
    expect "lazy $dtype" "$(run lazy cuda FAKE_CUDA_ORDER=lazy FAKE_CUDA_SEED=4)" 0
    more="--set inference.layers_in_memory=2"
    expect "two layers $dtype" "$(run turns cuda FAKE_CUDA_ORDER=lazy FAKE_CUDA_SEED=5)" 0
    more=""
    grep -q '2 in memory: the others are read again' "$work/turns.log" || { echo "failed: all layers stayed"; failed=$((failed + 1)); }
    same_files eager latest
    same_files eager lazy
    same_files eager turns
    for name in eager latest lazy turns; do no_reports $name; done
    # A kernel fails, then memory, then a copy: each time the same command goes on.
    expect "failing kernel $dtype" "$(run resumed cuda FAKE_CUDA_FAIL=kernel:150:700)" 3
    grep -q CUDA_ERROR_ILLEGAL_ADDRESS "$work/resumed.log" || { echo "failed: the message names no error"; failed=$((failed + 1)); }
    expect "short memory $dtype" "$(run resumed cuda FAKE_CUDA_MEMORY=1000000)" 1
    expect "failing copy $dtype" "$(run resumed cuda FAKE_CUDA_ORDER=lazy FAKE_CUDA_FAIL=cuMemcpyDtoHAsync_v2:40:0)" 3
    expect "resumed $dtype" "$(run resumed cuda)" 0
    same_files eager resumed
    [ $dtype = float32 ] && {
        expect "CPU" "$(run cpu cpu)" 0
        "$engine" diff "$work/cpu/final" "$work/eager/final" --tolerance 1e-5 >"$work/diff.log" 2>&1
        expect "CPU and GPU apart" $? 0
    }
    rm -rf "$work"/eager "$work"/latest "$work"/lazy "$work"/turns "$work"/resumed
done
# Times of a GPU that is none mean nothing.
LD_LIBRARY_PATH="$fake" "$engine" bench --quiet --backend cuda --like smollm2-135m --layers 2 --tokens 20 --against gather >"$work/bench.log" 2>&1
expect "bench" $? 0
[ "$(grep -cE '^  (forward|\+ .*[a-z]) +- +- ' "$work/bench.log")" = 5 ] || { echo "failed: bench prints times"; cat "$work/bench.log"; failed=$((failed + 1)); }
no_reports bench
[ $failed = 0 ] && echo "runs on the fake GPU: 2 passed, 0 failed, 0 skipped"
exit $failed
