#!/bin/bash
# mpirun -n 4 with configs/cluster/again.sh: one rank is killed while all four work.
NAME=mpi
. "$(dirname "$0")/common.sh"
need mpirun
make_run
# As root, and with more ranks than cores: what only a test does. Its session folder lies in that of the test.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 TMPDIR=$WORK
timeout $HANGS mpirun -n 4 --oversubscribe --mca btl self --mca plm isolated --tag-output \
    "$RECIPES/again.sh" qkengine run "$WORK/run.yaml" >"$WORK/mpirun.log" 2>&1 &
launcher=$!
gather 4 $launcher
kill -KILL "$(held 2)"
gather 5 $launcher
release
ended $launcher
grep -q 'starting again' "$WORK/mpirun.log" || fail "no rank was started again"
finish "4 ranks worked, one was killed and went on"
