#!/bin/bash
# configs/cluster/datatrove_driver.py with 4 tasks: one process is killed while all four work.
NAME=datatrove
. "$(dirname "$0")/common.sh"
PYTHON=$ROOT/build/venv-cluster-more/bin/python
"$PYTHON" -c 'import datatrove' 2>/dev/null || { echo "SKIPPED $NAME: $PYTHON has no datatrove"; exit 77; }
make_run
export HOME=$WORK
cd "$WORK" || exit 1
timeout $HANGS "$PYTHON" "$RECIPES/datatrove_driver.py" run.yaml 4 >"$WORK/datatrove.log" 2>&1 &
launcher=$!
gather 4 $launcher
kill -KILL "$(held 2)"
gather 5 $launcher
release
ended $launcher
finish "4 tasks worked, one was killed and went on"
