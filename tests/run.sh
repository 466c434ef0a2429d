#!/usr/bin/env bash
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

results=build/suites
rm -rf $results && mkdir -p $results
# Runs one suite; prints what matters of it in one piece, and leaves its counts and its times in files.
suite() {
    name=$1 budget=$2; shift 2
    log=$results/$(echo "$name" | tr -c 'a-zA-Z0-9\n' _)
    TIMEFORMAT="%0R s, %0U + %0S s of CPU"
    { time timeout "$budget" "$@" >"$log" 2>&1; rc=$?; } 2>"$log.time"
    counts=$(sed -n 's/.*: \([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$log" | tail -n 1)
    [ -n "$counts" ] || { [ $rc = 0 ] && counts="1 0 0" || counts="0 1 0"; }
    read -r p f s <<<"$counts"
    [ $rc = 0 ] || [ "$f" != 0 ] || f=1
    echo "$p $f $s" >"$log.counts"
    {
        echo "== $name =="
        [ $rc = 0 ] && grep -E 'SKIPPED|^[a-z].*: [0-9]+ passed|^ok |cases covered|pairs checked' "$log" || cat "$log"
        [ $rc = 124 ] && echo "$name: stopped after $budget seconds"
        echo "$name: $(cat "$log.time")"
    } >"$log.said"
    cat "$log.said"
}
# The same beside another one: most suites wait for one process at a time.
beside() {
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
    suite "$@" &
}

suite "layers" 60 tests/check_layers.sh
suite "names" 60 tests/check_names.sh
suite "style" 120 tests/check_style.sh
suite "unit tests" 600 make -s unit
suite "unit tests with sanitizers" 1200 make -s unit SAN=1
suite "qkengine with sanitizers" 600 make -s SAN=1 build/cpu-san/qkengine
suite "fuzz corpus" 600 tests/fuzz/run.sh 0
# Three of the six generations of GPUs, which `make cuda-gates` by itself compiles for.
GATE_ARCHS="sm_80 sm_90a sm_120a" beside "CUDA gates" 1700 make -s cuda-gates # a third of the whole; what waits below waits beside it
if [ -x $venv/bin/python ]; then
    py="$venv/bin/python"
    beside "forward goldens" 300 $py tests/interop/forward_golden.py "$(golden forward)" tests/data/forward
    beside "capture goldens" 300 $py tests/interop/capture_golden.py ./qkengine "$(golden capture)"
    beside "load" 300 $py tests/interop/load.py
    beside "readers alike" 300 $py tests/interop/readers.py
    beside "card calls" 600 $py tests/interop/card_calls.py
    beside "strict footer" 300 $py tests/interop/strict_footer_test.py
    beside "help" 60 $py tests/interop/help.py
    beside "decimals" 120 $py tests/interop/decimals.py
    beside "same bytes" 300 $py tests/interop/same_bytes.py
    beside "same bytes elsewhere" 600 $py tests/interop/same_bytes_elsewhere.py
    beside "mixing" 300 $py tests/interop/mixing.py
    beside "join" 300 $py tests/interop/join.py
    beside "many processes" 300 $py tests/interop/many_processes.py
    beside "limits" 300 $py tests/interop/limits.py
    beside "streaming" 300 $py tests/interop/streaming.py
    beside "changing inputs" 300 $py tests/interop/changing_inputs.py
    beside "bad input" 300 $py tests/interop/bad_input.py
    beside "hostile folders" 120 $py tests/interop/hostile.py
    beside "bit flips" 120 $py tests/interop/bit_flips.py
    beside "failing calls" 300 $py tests/interop/failing_calls.py
    beside "found" 300 tests/found.sh $py
    beside "starts" 600 $py tests/interop/starts.py
    beside "input corpus" 300 $py tests/interop/corpus.py build/cpu-san/qkengine
    beside "tables" 300 $py tests/interop/tables.py
    beside "cards" 300 $py tests/interop/cards.py
    beside "type changes" 600 $py tests/interop/type_changes.py
    if [ -x $next/bin/python ]; then
        beside "tables, next datasets" 300 $next/bin/python tests/interop/tables.py
        beside "cards, next datasets" 300 $next/bin/python tests/interop/cards.py
        beside "type changes, next datasets" 600 $next/bin/python tests/interop/type_changes.py
        beside "card calls, next datasets" 600 $next/bin/python tests/interop/card_calls.py
    else
        echo "SKIPPED: tables, cards, type changes and card calls, next datasets"
        echo "0 0 4" >$results/next.counts
    fi
    beside "hub pull" 300 $py tests/interop/hub_pull.py
    beside "hub stream" 300 $py tests/interop/hub_stream.py
    beside "hub rot" 300 $py tests/interop/hub_rot.py
    beside "hub pull faults" 600 $py tests/interop/hub_pull_faults.py
    beside "synth" 300 $py tests/interop/synth.py
    beside "hub fixture" 300 $py tests/interop/hub_client.py
    beside "hub push" 600 $py tests/interop/hub_push.py
    beside "hub push faults" 1200 $py tests/interop/hub_push_faults.py
    beside "threads" 900 $py tests/interop/threads.py
    wait
    suite "hub cases" 60 $py tests/interop/hub_cases.py
    beside "Parquet files" 300 $py tests/interop/parquet_read.py
    beside "AutoTokenizer" 300 $py tests/interop/autotokenizer.py
    beside "tokenizers against the package" 600 $py tests/interop/tokenizer_fuzz.py
    beside "real model" 600 $py tests/interop/real_model.py
else
    echo "SKIPPED: all suites that need Python readers"
    echo "0 0 1" >$results/python.counts # every suite that was not run counts at least once
fi
wait
echo "== the slowest =="
for log in $results/*.time; do echo "$(cat "$log"): $(basename "$log" .time)"; done | sort -rn | head -n 8
read -r passed failed skipped <<<"$(cat $results/*.counts | awk '{ p += $1; f += $2; s += $3 } END { print p, f, s }')"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
