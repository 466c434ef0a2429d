#!/bin/sh
# make demo: a whole run on files of this repository, then how to load what it wrote.
set -e
./qkengine plan configs/demo.yaml
echo
./qkengine run configs/demo.yaml
echo
./qkengine inspect demo-output/final
cat <<'EOF'

Load it in Python (pip install datasets):

    from datasets import load_dataset
    rows = load_dataset("demo-output/final", "l00h00q", split="train")   # layer 0, head 0, queries
    print(rows[0]["token_str"], rows[0]["position"], rows[0]["vector"][:4])

Your own run: copy configs/sample.yaml, which explains every key, then
    ./qkengine plan my.yaml && ./qkengine run my.yaml
EOF
