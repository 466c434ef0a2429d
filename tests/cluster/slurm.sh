#!/bin/bash
# configs/cluster/slurm.sbatch as an array of 4 on three nodes of one host. While all four work, the process of one task gets
# SIGTERM, and another one's node is drained and goes down: both tasks are requeued by themselves and go on.
NAME=slurm
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/slurm_host.sh"
start_slurm
make_run
cd "$WORK" || exit 1

node_of() { scontrol show job "$1" | sed -n 's/^ *NodeList=\(n[0-9]\).*/\1/p'; }
restarts_of() { scontrol show job "$1" | sed -n 's/.* Restarts=\([0-9]*\).*/\1/p'; }
job_over() { [ -z "$(squeue -h -j "$1" -o %t 2>/dev/null)" ]; }

job=$(sbatch --parsable --array=0-3 --cpus-per-task=1 --mem=0 --time=10 "$RECIPES/slurm.sbatch" "$WORK/run.yaml") || fail "sbatch"
gather 4

stopped=$(held 2 2)
kill -TERM "$(held 2)"
kill -CONT "$(held 2)"
gather 5
[ "$(held 5 2)" = "$stopped" ] || fail "task $stopped was stopped, and $(held 5 2) came to work"

lost=$(held 3 2) node=$(node_of "$(held 3 2)")
[ "$lost" != "$stopped" ] || fail "one task has worked twice"
scontrol update nodename="$node" state=drain reason=test
scontrol update nodename="$node" state=down reason=test
gather 6
[ "$(node_of "$(held 6 2)")" != "$node" ] || fail "task $(held 6 2) is on $node, which is down"

release
until_true job_over "$job"
for task in 0 1 2 3; do
    scontrol show job "${job}_$task" | grep -q 'JobState=COMPLETED' || fail "task $task: $(scontrol show job "${job}_$task")"
done
for task in "$stopped" "$lost"; do
    [ "$(restarts_of "$task")" -ge 1 ] || fail "task $task was not requeued"
done
finish "4 tasks worked; $stopped was stopped, $node of $lost drained and lost; both requeued"
