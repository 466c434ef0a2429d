#!/usr/bin/env bash
# Runs the suites of tests/suites. Installs what they need when it may, else prints the command that does. Each is printed with its
# seconds and its seconds of processor time; the last line counts all tests.
# usage: run.sh test|rest|all [PART]    of those, only suites with PART in their name
cd "$(dirname "$0")/.." || exit 1
when=$1 part=$2
case "$when" in test | rest | all) ;; *) echo "usage: run.sh test|rest|all [PART]"; exit 2 ;; esac
CORES=$(nproc 2>/dev/null || echo 2)
export CORES
export OMP_WAIT_POLICY=passive # waiting threads leave the cores to whatever else runs
tests/tools/deps.sh test || exit 1
make -j"$CORES" qkengine build/cpu/tests/test_parquet build/cpu/tests/test_parquet_read || exit 1 # what Python suites run

shared=${QK_SHARED:-$(cd .. && pwd)/shared}
[ -d "$shared/golden" ] || echo "SKIPPED: no goldens at $shared/golden; the copies in tests/data are used"
golden() { if [ -d "$shared/golden/$1" ]; then echo "$shared/golden/$1"; else echo "tests/data/$1"; fi; }
export QK_SHARED="$shared" FORWARD CAPTURE PY=build/venv/bin/python NEXT=build/venv-next/bin/python
FORWARD=$(golden forward) CAPTURE=$(golden capture)

while read -r venv requirements; do
    [ -x "$venv/bin/python" ] && cmp -s "$requirements" "$venv/requirements.txt" && continue
    echo "== $requirements from PyPI =="
    python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check -r "$requirements" &&
        cp "$requirements" "$venv/requirements.txt" || { rm -rf "$venv"; echo "SKIPPED: PyPI cannot be reached; nothing of $requirements"; }
done <<END
build/venv tests/interop/requirements.txt
build/venv-next tests/interop/requirements_next.txt
END

results=build/suites/$when
rm -rf "$results" && mkdir -p "$results"

# Runs one suite; prints what matters of it in one piece, and leaves its counts and its times in files. The limit is of processor time;
# the clock only ends what hangs.
suite() { # NAME LIMIT COMMAND
    name=$1 limit=$2 command=$3
    log=$results/$(echo "$name" | tr -c 'a-zA-Z0-9\n' _)
    hangs=$((1200 + 10 * limit))
    case "$command" in # a suite that is not run counts as one skipped test
    *'$PY '*) python=$PY ;;
    *'$NEXT '*) python=$NEXT ;;
    *) python=/bin/sh ;;
    esac
    [ -x "$python" ] || { echo "SKIPPED: $name: no $python"; echo "0 0 1" >"$log.counts"; return; }
    TIMEFORMAT="%0R s, %0U + %0S s of CPU"
    { time timeout "$hangs" bash -c "ulimit -t $limit; $command" >"$log" 2>&1; rc=$?; } 2>"$log.time"
    counts=$(sed -n 's/.*: \([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$log" | tail -n 1)
    [ -n "$counts" ] || { [ $rc = 0 ] && counts="1 0 0" || counts="0 1 0"; }
    read -r p f s <<<"$counts"
    [ $rc = 0 ] || [ "$f" != 0 ] || f=1
    echo "$p $f $s" >"$log.counts"
    {
        echo "== $name =="
        [ $rc = 0 ] && grep -E 'SKIPPED|^[a-z].*: [0-9]+ passed|^ok |cases covered|pairs checked' "$log" || cat "$log"
        [ $rc = 124 ] && echo "$name: it hangs: stopped after $hangs seconds"
        echo "$name: $(cat "$log.time")"
    } >"$log.said"
    cat "$log.said"
}

while IFS='|' read -r tier how limit name command; do
    tier=${tier// /} how=${how// /} limit=${limit// /}
    name=$(echo $name) command=${command# }
    case "$tier" in '#'* | '') continue ;; esac
    [ "$when" = all ] || [ "$when" = "$tier" ] || continue
    case "$name" in *"$part"*) ;; *) continue ;; esac
    case "$part:$command" in # of the whole list, a suite of its own builds it
    ?*:*cpu-san/qkengine* | ?*:*fuzz/run.sh*) make -s -j"$CORES" SAN=1 build/cpu-san/qkengine || exit 1 ;;
    esac
    case "$how" in
    alone) wait; suite "$name" "$limit" "$command" </dev/null ;;
    beside) # most suites wait half of their time, for one process or for a reply
        while [ "$(jobs -rp | wc -l)" -ge 3 ]; do wait -n; done
        suite "$name" "$limit" "$command" </dev/null & ;;
    esac
done <tests/suites
wait
cat "$results"/*.counts >/dev/null 2>&1 || { echo "no suite of '$when' has '$part' in its name"; exit 2; }
echo "== the slowest, of $(cat "$results"/*.time | awk '{ sum += $3 + $5 } END { print sum + 0 }') s of CPU =="
for log in "$results"/*.time; do echo "$(cat "$log"): $(basename "$log" .time)"; done | sort -rn | head -n 8
read -r passed failed skipped <<<"$(cat "$results"/*.counts | awk '{ p += $1; f += $2; s += $3 } END { print p, f, s }')"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
