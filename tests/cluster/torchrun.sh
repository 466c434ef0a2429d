#!/bin/bash
# torchrun with 4 processes and configs/cluster/again.sh: one is killed while all four work. TORCHRUN: the program, if not on PATH.
NAME=torchrun
. "$(dirname "$0")/common.sh"
TORCHRUN=${TORCHRUN:-torchrun}
need "$TORCHRUN"
make_run
OMP_NUM_THREADS=1 timeout $HANGS "$TORCHRUN" --standalone --nproc-per-node 4 --no-python \
    "$RECIPES/again.sh" qkengine run "$WORK/run.yaml" >"$WORK/torchrun.log" 2>&1 &
launcher=$!
gather 4 $launcher
kill -KILL "$(held 2)"
gather 5 $launcher
release
ended $launcher
finish "4 processes worked, one was killed and went on"
