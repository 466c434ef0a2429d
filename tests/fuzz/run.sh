#!/bin/sh
# Fuzzes every parser for T seconds of processor time each under the address and undefined-behaviour sanitizers; with T=0, or
# without clang, replays the corpus only. usage: run.sh [T [TARGET...]]
cd "$(dirname "$0")/../.." || exit 1
T=${1:-60}
[ $# = 0 ] || shift
clang=$(command -v clang || true)
passed=0 failed=0
make -s SAN=1 build/cpu-san/libqkengine.a || exit 1
flags="-std=c11 -D_GNU_SOURCE -I. -O1 -g -Werror=implicit-function-declaration -fsanitize=address,undefined -fno-sanitize-recover=all"
libs="build/cpu-san/libqkengine.a $(make -s print-libs)"
mkdir -p build/fuzz/obj
# The parsers themselves are compiled by clang, once, so that coverage guides the search.
clang_flags="-std=c11 -D_GNU_SOURCE -I. -O1 -g -w -fsanitize=address,undefined -fno-sanitize-recover=all"
if [ "$T" != 0 ] && [ -n "$clang" ]; then
    rm -f build/fuzz/obj/*
    git ls-files 'formats/*.c' 'engine/*.c' 'sampler/*.c' 'hub/*.c' 'kernels/*.c' |
        grep -vE 'engine/main.c|kernels/backend.c|kernels/cpu/|kernels/cuda/|kernels/emulator/' |
        xargs -P "$(nproc 2>/dev/null || echo 2)" -I{} sh -c 'clang $1 -fsanitize=fuzzer-no-link -c -o "build/fuzz/obj/$(echo {} | tr / _).o" {}' sh "$clang_flags" || exit 1
fi

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
    link=$(sed -n '1s/^.*link: *//p' "$source") # what a target needs beyond the usual
    gcc $flags -o "build/fuzz/$name-replay" "$source" tests/fuzz/replay.c $link $libs || { failed=$((failed + 1)); continue; }
    if said=$("build/fuzz/$name-replay" "$corpus"/* 2>&1); then passed=$((passed + 1)); echo "ok   $name replay: $said"
    else failed=$((failed + 1)); echo "FAIL $name replay: $said"; fi
    [ "$T" = 0 ] && continue
    [ -n "$clang" ] || { echo "SKIPPED $name: clang is not installed, so only the corpus was replayed"; continue; }
    clang $clang_flags -fsanitize=fuzzer $link -o "build/fuzz/$name" "$source" tests/fuzz/one_backend.c build/fuzz/obj/*.o $(make -s print-libs) ||
        { failed=$((failed + 1)); continue; }
    mkdir -p "build/fuzz/new-$name"
    if said=$(search "$name"); then passed=$((passed + 1)); echo "ok   $name: $said"
    else failed=$((failed + 1)); echo "FAIL $name: $said"; tail -30 "build/fuzz/$name.log"; fi
done
echo "fuzz: $passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
