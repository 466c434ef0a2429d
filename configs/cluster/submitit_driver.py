"""submitit: an array of tasks that share one run. usage: python submitit_driver.py my.yaml TASKS [PARTITION]

output.data_root must be seen by all nodes; no task needs a rank. For GPUs: gpus_per_node=1 in update_parameters. Before the time limit,
and at preemption, Slurm sends USR2; submitit then calls checkpoint() and puts the task back into the queue.
"""
import subprocess
import sys

import submitit


class Run:
    def __init__(self, config):
        self.config = config

    def __call__(self):
        subprocess.run(["qkengine", "run", self.config], check=True)

    def checkpoint(self):
        return submitit.helpers.DelayedSubmission(Run(self.config))   # the same command goes on


if __name__ == "__main__":
    executor = submitit.AutoExecutor(folder="submitit-logs", slurm_max_num_timeout=100)
    executor.update_parameters(timeout_min=240, cpus_per_task=1)
    if sys.argv[3:]:
        executor.update_parameters(slurm_partition=sys.argv[3])
    with executor.batch():
        jobs = [executor.submit(Run(sys.argv[1])) for _ in range(int(sys.argv[2]))]
    for job in jobs:
        job.result()
