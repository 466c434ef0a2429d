#!/bin/sh
# Runs the C test programs given as arguments, as many at once as there are cores. Prints each one's last line, and everything
# a failing one said. Each may use ten minutes of processor time; the clock only ends what hangs. The last line counts them all. usage: run_unit.sh BUILD_FOLDER PROGRAM...
shift
passed=0 failed=0 skipped=0
printf '%s\n' "$@" | xargs -P "$(nproc 2>/dev/null || echo 2)" -I{} \
    sh -c 'ulimit -t 600; timeout 7200 "$1" >"$1.log" 2>&1; echo $? >"$1.status"' sh {}
for program in "$@"; do
    log=$program.log rc=$(cat "$program.status")
    line=$(tail -n 1 "$log")
    counts=$(printf '%s\n' "$line" | sed -n 's/.*: \([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p')
    if [ "$rc" != 0 ] || [ -z "$counts" ]; then
        cat "$log"
        [ -n "$counts" ] || { echo "$program ended with status $rc"; counts="0 1 0"; }
    else
        grep SKIPPED "$log"
        printf '%s\n' "$line"
    fi
    read -r p f s <<EOF
$counts
EOF
    [ "$rc" = 0 ] || [ "$f" != 0 ] || f=1
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
echo "unit: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
