#!/bin/sh
# Fuzzes every parser for T seconds of processor time each under the address and undefined-behaviour sanitizers; with T=0, or
# without clang, replays the corpus only. usage: run.sh [T [TARGET...]]
cd "$(dirname "$0")/../.." || exit 1
T=${1:-60}
[ $# = 0 ] || shift
clang=$(command -v clang || true)
passed=0 failed=0
make -s SAN=1 build/cpu-san/libqkengine.a || exit 1
jobs=$(nproc 2>/dev/null || echo 2)
mkdir -p build/fuzz

# Seconds of processor time of this shell's ended children, into the variable `used`. A pipe would ask a subshell, which has none.
count_used() {
    times >build/fuzz/times
    used=$(tail -1 build/fuzz/times | awk '{ for (i = 1; i <= 2; i++) { split($i, t, "m"); sum += 60 * t[1] + t[2] } print int(sum) }')
}

# Runs a target until it has used T seconds of processor time, however busy the machine is: libFuzzer's own limit is the clock's.
search() {
    runs=0 used=0 # a subshell of its own, see below: nothing used yet
    : >"build/fuzz/$1.log"
    while [ $used -lt "$T" ]; do
        "build/fuzz/$1" -max_total_time=$((T - used)) -print_final_stats=1 -rss_limit_mb=1024 -timeout=10 \
            "build/fuzz/new-$1" "tests/fuzz/corpus/${1#fuzz_}" >"build/fuzz/$1.last" 2>&1
        status=$?
        cat "build/fuzz/$1.last" >>"build/fuzz/$1.log"
        [ $status = 0 ] || return 1
        runs=$((runs + $(sed -n 's/^stat::number_of_executed_units: //p' "build/fuzz/$1.last")))
        count_used
    done
    echo "$runs executions in $used seconds of processor time"
}

for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    case " $* " in "  " | *" ${name#fuzz_} "*) ;; *) continue ;; esac
    corpus=tests/fuzz/corpus/${name#fuzz_}
    make -s SAN=1 "build/fuzz/$name-replay" || { failed=$((failed + 1)); continue; }
    if said=$("build/fuzz/$name-replay" "$corpus"/* 2>&1); then passed=$((passed + 1)); echo "ok   $name replay: $said"
    else failed=$((failed + 1)); echo "FAIL $name replay: $said"; fi
    [ "$T" = 0 ] && continue
    [ -n "$clang" ] || { echo "SKIPPED $name: clang is not installed, so only the corpus was replayed"; continue; }
    make -s -j"$jobs" "build/fuzz/$name" || { failed=$((failed + 1)); continue; }
    mkdir -p "build/fuzz/new-$name"
    if said=$(search "$name"); then passed=$((passed + 1)); echo "ok   $name: $said"
    else failed=$((failed + 1)); echo "FAIL $name: $said"; tail -30 "build/fuzz/$name.log"; fi
done
echo "fuzz: $passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
