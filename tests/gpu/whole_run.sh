#!/bin/sh
# Whole runs on the GPU beside the CPU's, of configurations in tests/data/capture: the same rows (ids, positions, buckets),
# vectors within the bound, and the same bytes when run again and with another batch size.
# usage: whole_run.sh QKENGINE. Last line: "whole runs: N passed, N failed, N skipped".
engine=$(realpath "$1")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# run_one NAME CASE CONFIG DTYPE BACKEND BATCH: leaves $work/NAME/out/final
run_one() {
    mkdir "$work/$1"
    for entry in "$2"/*; do ln -s "$(realpath "$entry")" "$work/$1/"; done
    (cd "$work/$1" && "$engine" run "$3" --quiet --backend "$5" --set output.data_root=out --set output.layout=branch \
        --set "model.dtype=$4" --set "inference.autocast_dtype=$4" --set "inference.batch_size=$6") ||
        { echo "FAIL $1: exit status $?"; return 1; }
}

judge() { # judge WHAT COMMAND...
    what=$1; shift
    if "$@" >"$work/log" 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAIL $what"; tail -n 8 "$work/log"; fi
}

# Each backend may be as far from the truth as tests/interop/capture_golden.py allows; so twice that from each other.
for case in tests/data/capture/case1_llama_log_uniform:config.yaml tests/data/capture/case6_truncation_and_ids:config_b.yaml; do
    folder=${case%:*} config=${case#*:}
    layers=$(sed -n 's/.*"num_hidden_layers": *\([0-9]*\).*/\1/p' "$folder/model/config.json")
    for dtype in float32 bfloat16; do
        bound=$(awk "BEGIN { print \"$dtype\" == \"float32\" ? 4e-6 * $layers : 3e-2 }")
        name=$(basename "$folder")-$dtype
        run_one "$name-cpu" "$folder" "$config" $dtype cpu 4 && run_one "$name-gpu" "$folder" "$config" $dtype cuda 4 &&
            run_one "$name-again" "$folder" "$config" $dtype cuda 4 && run_one "$name-batch1" "$folder" "$config" $dtype cuda 1 &&
            run_one "$name-batch7" "$folder" "$config" $dtype cuda 7 || { failed=$((failed + 1)); continue; }
        judge "$name: rows of CPU and GPU" "$engine" diff "$work/$name-cpu/out/final" "$work/$name-gpu/out/final" --tolerance "$bound"
        tail -n 1 "$work/log"
        for other in again batch1 batch7; do
            judge "$name: the same bytes, $other" diff -r "$work/$name-gpu/out/final" "$work/$name-$other/out/final"
        done
    done
done
echo "whole runs: $passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
