#!/bin/sh
# Fuzzes every parser for T seconds each under the address and undefined-behaviour sanitizers; with T=0, or without clang,
# replays the corpus only. usage: run.sh [T [TARGET...]]
cd "$(dirname "$0")/../.." || exit 1
T=${1:-60}
[ $# = 0 ] || shift
clang=$(command -v clang || true)
passed=0 failed=0
make -s SAN=1 build/cpu-san/libqkengine.a || exit 1
flags="-std=c11 -D_GNU_SOURCE -I. -O1 -g -fopenmp -fsanitize=address,undefined -fno-sanitize-recover=all"
libs="build/cpu-san/libqkengine.a $(make -s print-libs)"
mkdir -p build/fuzz/obj
# The parsers themselves are compiled by clang, once, so that coverage guides the search.
clang_flags="-std=c11 -D_GNU_SOURCE -I. -O1 -g -w -fsanitize=address,undefined -fno-sanitize-recover=all"
if [ "$T" != 0 ] && [ -n "$clang" ]; then
    rm -f build/fuzz/obj/*
    git ls-files 'formats/*.c' 'engine/base/*.c' 'engine/*.c' 'engine/config/*.c' 'engine/dataset/*.c' 'engine/tokenizer/*.c' 'engine/families/*.c' 'sampler/*.c' 'kernels/*.c' 'kernels/ref/*.c' |
        grep -vE 'engine/main.c|kernels/backend.c|kernels/cpu/|kernels/cuda/' |
        xargs -P "$(nproc 2>/dev/null || echo 2)" -I{} sh -c 'clang $1 -fsanitize=fuzzer-no-link -c -o "build/fuzz/obj/$(echo {} | tr / _).o" {}' sh "$clang_flags" || exit 1
fi
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    case " $* " in "  " | *" ${name#fuzz_} "*) ;; *) continue ;; esac
    corpus=tests/fuzz/corpus/${name#fuzz_}
    gcc $flags -o "build/fuzz/$name-replay" "$source" tests/fuzz/replay.c $libs || { failed=$((failed + 1)); continue; }
    if said=$("build/fuzz/$name-replay" "$corpus"/* 2>&1); then passed=$((passed + 1)); echo "ok   $name replay: $said"
    else failed=$((failed + 1)); echo "FAIL $name replay: $said"; fi
    [ "$T" = 0 ] && continue
    [ -n "$clang" ] || { echo "SKIPPED $name: clang is not installed, so only the corpus was replayed"; continue; }
    clang $clang_flags -fsanitize=fuzzer -o "build/fuzz/$name" "$source" tests/fuzz/one_backend.c build/fuzz/obj/*.o $(make -s print-libs) ||
        { failed=$((failed + 1)); continue; }
    mkdir -p "build/fuzz/new-$name"
    if "build/fuzz/$name" -max_total_time="$T" -rss_limit_mb=1024 -timeout=10 "build/fuzz/new-$name" "$corpus" >"build/fuzz/$name.log" 2>&1; then
        passed=$((passed + 1)); echo "ok   $name: $(grep -E '^Done|stat::number_of_executed' "build/fuzz/$name.log" | tail -1)"
    else
        failed=$((failed + 1)); echo "FAIL $name:"; tail -30 "build/fuzz/$name.log"
    fi
done
echo "fuzz: $passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
