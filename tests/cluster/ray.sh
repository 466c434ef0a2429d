#!/bin/bash
# configs/cluster/ray_driver.py with 4 tasks: one process is killed, one ended by TERM while all four work; Ray starts both again.
NAME=ray
. "$(dirname "$0")/common.sh"
PYTHON=$ROOT/build/venv-cluster/bin/python
"$PYTHON" -c 'import ray' 2>/dev/null || { echo "SKIPPED $NAME: $PYTHON has no ray"; exit 77; }
make_run
# Four tasks at a time on any machine; a cluster of its own, on free ports, in the folder of the test.
export RAY_USAGE_STATS_ENABLED=0 RAY_DISABLE_IMPORT_WARNING=1 RAY_OVERRIDE_RESOURCES='{"CPU":4}' RAY_TMPDIR=$WORK TMPDIR=$WORK
unset RAY_ADDRESS
cd "$WORK" || exit 1
timeout $HANGS "$PYTHON" "$RECIPES/ray_driver.py" run.yaml 4 >"$WORK/ray.log" 2>&1 &
launcher=$!
gather 4 $launcher
kill -KILL "$(held 2)"
gather 5 $launcher
kill -TERM "$(held 3)"
kill -CONT "$(held 3)"
gather 6 $launcher
release
ended $launcher
finish "4 tasks worked, one was killed, one stopped, Ray started both again"
