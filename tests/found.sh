#!/bin/sh
# Every input that once failed without a word, with its right outcome. usage: found.sh [PYTHON]
cd "$(dirname "$0")/.." || exit 1
python=${1:-build/venv/bin/python}
export QKENGINE_CACHE=${QKENGINE_CACHE:-off}
rc=0
$python tests/interop/found_models.py || rc=1
$python tests/interop/found_breakers.py || rc=1
exit $rc
