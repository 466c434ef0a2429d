#!/bin/bash
# configs/cluster/submitit_driver.py with 4 tasks on a Slurm of its own: one gets the signal that Slurm sends before its time is up;
# submitit puts it back into the queue, and it goes on.
NAME=submitit
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/slurm_host.sh"
PYTHON=$ROOT/build/venv-cluster/bin/python
"$PYTHON" -c 'import submitit' 2>/dev/null || { echo "SKIPPED $NAME: $PYTHON has no submitit"; exit 77; }
start_slurm
make_run
cd "$WORK" || exit 1
timeout $HANGS "$PYTHON" "$RECIPES/submitit_driver.py" run.yaml 4 >"$WORK/submitit.log" 2>&1 &
launcher=$!
gather 4 $launcher
stopped=$(held 2 2)
scancel --signal=USR2 "$stopped"
kill -CONT "$(held 2)"
gather 5 $launcher
[ "$(held 5 2)" = "$stopped" ] || fail "task $stopped was stopped, and $(held 5 2) came to work"
release
ended $launcher
finish "4 tasks worked; $stopped was told to stop, went back into the queue and on"
