#!/bin/sh
# Formatting, and the caps on size: files 700 lines (kernels 450), functions 100 lines, README.md 12 kB.
rc=0
if command -v clang-format >/dev/null 2>&1; then
    git ls-files '*.c' '*.h' '*.cu' | grep -v unicode_tables |
        xargs -P "$(nproc 2>/dev/null || echo 2)" -n 16 clang-format --dry-run --Werror 2>&1 |
        sed -n 's/:[0-9]*:[0-9]*: error:.*/: not formatted; run "make format"/p' | sort -u | grep . && rc=1
else
    echo "SKIPPED formatting: clang-format is not installed"
fi
for f in $(git ls-files '*.c' '*.h' '*.cu' '*.cuh' | grep -v unicode_tables); do
    cap=700
    case "$f" in kernels/*) cap=450 ;; esac
    lines=$(wc -l <"$f")
    [ "$lines" -le $cap ] || { echo "$f: $lines lines, the cap is $cap"; rc=1; }
done
[ "$(wc -c <README.md)" -le 12288 ] || { echo "README.md: over 12 kB; details lie beside the code that they explain"; rc=1; }
# A function ends at a closing brace in the first column.
long=$(git ls-files '*.c' | grep -v '^tests/' | xargs awk '
    /^[a-zA-Z_].*\(/ && !/;$/ { name = $0; start = FNR }
    /^}/ && start { if (FNR - start > 100) print FILENAME ": " FNR - start " lines: " name; start = 0 }')
[ -z "$long" ] || { echo "functions over 100 lines:"; echo "$long"; rc=1; }
[ $rc = 0 ] && echo "style: formatted, within the caps"
exit $rc
