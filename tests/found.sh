#!/bin/sh
# Every input that once failed without a word, with its right outcome. usage: found.sh [PYTHON]
cd "$(dirname "$0")/.." || exit 1
python=${1:-build/venv/bin/python}
export QKENGINE_CACHE="${QKENGINE_CACHE:-off}"
log=$(mktemp) rc=0
for suite in found_models found_breakers parquet_old_writers found_ids found_infos found_output; do
    $python tests/interop/$suite.py >"$log.one" 2>&1 || rc=1
    cat "$log.one"
    cat "$log.one" >>"$log"
done
awk '/: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { p += $(NF - 5); f += $(NF - 3); s += $(NF - 1) }
    END { printf "found: %d passed, %d failed, %d skipped\n", p, f, s }' "$log"
rm -f "$log" "$log.one"
exit $rc
