#!/bin/sh
# make bench: Parquet against pyarrow, memory, layers read again and again, then speed against transformers and tokenizers. Needs build/smollm2
# (tests/interop/real_model.py makes it) and, for the last two, a Python with torch and transformers: TORCH_PYTHON=... make bench
cd "$(dirname "$0")/../.." || exit 1
if [ -x build/venv/bin/python ]; then
    for part in "text" "memory"; do build/venv/bin/python tests/bench/parquet.py $part; done
else
    echo "SKIPPED: Parquet against pyarrow: make test installs pyarrow in build/venv"
fi
[ -d build/smollm2 ] || { echo "run build/venv/bin/python tests/interop/real_model.py first: it lays the model out"; exit 1; }
python3 tests/bench/memory.py
python3 tests/bench/streaming.py build/streaming # 3 GB on disk meanwhile
[ -n "$TORCH_PYTHON" ] || { echo "SKIPPED: set TORCH_PYTHON for the comparison with transformers"; exit 0; }
python3 tests/bench/prefill.py "$TORCH_PYTHON"
python3 tests/bench/tokenizer.py "$TORCH_PYTHON"
