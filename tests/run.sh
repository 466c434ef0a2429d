#!/bin/sh
# make test: everything. Installs what it needs when it may, else prints the command that does.
# Each suite has a time budget; the last line counts all tests.
cd "$(dirname "$0")/.." || exit 1
export OMP_WAIT_POLICY=passive # waiting threads leave the cores to whatever else runs
tests/tools/deps.sh test || exit 1
make -j"$(nproc 2>/dev/null || echo 2)" qkengine || exit 1

shared=${QK_SHARED:-$(cd .. && pwd)/shared}
[ -d "$shared/golden" ] || echo "SKIPPED: no goldens at $shared/golden; the copies in tests/data are used"
export QK_SHARED="$shared"
golden() { if [ -d "$shared/golden/$1" ]; then echo "$shared/golden/$1"; else echo "tests/data/$1"; fi; }

venv=build/venv next=build/venv-next
make_venv() { # FOLDER REQUIREMENTS
    [ -x "$1/bin/python" ] && cmp -s "$2" "$1/requirements.txt" && return
    echo "== $2 from PyPI =="
    python3 -m venv "$1" && "$1/bin/pip" install -q --disable-pip-version-check -r "$2" && cp "$2" "$1/requirements.txt" ||
        { rm -rf "$1"; echo "SKIPPED: PyPI cannot be reached; nothing of $2"; }
}
make_venv $venv tests/interop/requirements.txt
make_venv $next tests/interop/requirements_next.txt

passed=0 failed=0 skipped=0
suite() {
    name=$1 budget=$2 began=$(date +%s); shift 2
    echo "== $name =="
    log=build/suite.log
    timeout "$budget" "$@" >$log 2>&1; rc=$?
    [ $rc = 0 ] && grep -E 'SKIPPED|^[a-z].*: [0-9]+ passed|^ok |cases covered|pairs checked' $log || cat $log
    [ $rc = 124 ] && echo "$name: stopped after $budget seconds"
    echo "$name: $(($(date +%s) - began)) s"
    counts=$(sed -n 's/.*: \([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' $log | tail -n 1)
    [ -n "$counts" ] || { [ $rc = 0 ] && counts="1 0 0" || counts="0 1 0"; }
    set -- $counts
    [ $rc = 0 ] || [ "$2" != 0 ] || set -- "$1" 1 "$3"
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

suite "layers" 60 tests/check_layers.sh
suite "style" 120 tests/check_style.sh
suite "unit tests" 600 make -s unit
suite "unit tests with sanitizers" 1200 make -s unit SAN=1
suite "fuzz corpus" 600 tests/fuzz/run.sh 0
suite "CUDA gates" 1500 make -s cuda-gates
if [ -x $venv/bin/python ]; then
    py="$venv/bin/python"
    suite "forward goldens" 300 $py tests/interop/forward_golden.py "$(golden forward)" tests/data/forward
    suite "capture goldens" 300 $py tests/interop/capture_golden.py ./qkengine "$(golden capture)"
    suite "readers" 300 $py tests/interop/load.py
    suite "readers alike" 300 $py tests/interop/readers.py
    suite "strict footer" 300 $py tests/interop/strict_footer_test.py
    suite "same bytes" 300 $py tests/interop/same_bytes.py
    suite "mixing" 300 $py tests/interop/mixing.py
    suite "many processes" 300 $py tests/interop/many_processes.py
    suite "limits" 300 $py tests/interop/limits.py
    suite "streaming" 300 $py tests/interop/streaming.py
    suite "changing inputs" 300 $py tests/interop/changing_inputs.py
    suite "bad input" 300 $py tests/interop/bad_input.py
    suite "hostile folders" 120 $py tests/interop/hostile.py
    suite "bit flips" 120 $py tests/interop/bit_flips.py
    suite "failing calls" 300 $py tests/interop/failing_calls.py
    suite "found" 300 tests/found.sh $py
    make -s SAN=1 build/cpu-san/qkengine || failed=$((failed + 1))
    suite "input corpus" 300 $py tests/interop/corpus.py build/cpu-san/qkengine
    suite "tables" 300 $py tests/interop/tables.py
    if [ -x $next/bin/python ]; then
        suite "tables, next datasets" 300 $next/bin/python tests/interop/tables.py
    else
        skipped=$((skipped + 1))
    fi
    suite "hub pull" 300 $py tests/interop/hub_pull.py
    suite "hub stream" 300 $py tests/interop/hub_stream.py
    suite "hub rot" 300 $py tests/interop/hub_rot.py
    suite "hub pull faults" 600 $py tests/interop/hub_pull_faults.py
    suite "synth" 300 $py tests/interop/synth.py
    suite "hub fixture" 300 $py tests/interop/hub_client.py
    suite "hub push" 600 $py tests/interop/hub_push.py
    suite "hub push faults" 1200 $py tests/interop/hub_push_faults.py
    suite "threads" 900 $py tests/interop/threads.py
    suite "hub cases" 60 $py tests/interop/hub_cases.py
    suite "Parquet files" 300 $py tests/interop/parquet_read.py
    suite "AutoTokenizer" 300 $py tests/interop/autotokenizer.py
    suite "tokenizers against the package" 600 $py tests/interop/tokenizer_fuzz.py
    suite "real model" 600 $py tests/interop/real_model.py
else
    echo "SKIPPED: all suites that need Python readers"
    skipped=$((skipped + 1)) # every suite that was not run counts at least once
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
