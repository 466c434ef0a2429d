#!/bin/bash
# GNU parallel with 4 jobs and configs/cluster/again.sh: one is killed while all four work.
NAME=parallel
. "$(dirname "$0")/common.sh"
need parallel
parallel --version 2>/dev/null | grep -q '^GNU parallel' || { echo "SKIPPED $NAME: this is another parallel"; exit 77; }
make_run
export HOME=$WORK # where it keeps what it has asked
timeout $HANGS parallel --will-cite -j4 --tag --line-buffer "$RECIPES/again.sh qkengine run $WORK/run.yaml" '# {}' ::: 1 2 3 4 \
    >"$WORK/parallel.log" 2>&1 &
launcher=$!
gather 4 $launcher
kill -KILL "$(held 2)"
gather 5 $launcher
release
ended $launcher
finish "4 jobs worked, one was killed and went on"
