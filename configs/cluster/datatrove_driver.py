"""datatrove: a pipeline whose one step is a process of a run. usage: python datatrove_driver.py my.yaml TASKS

On Slurm take SlurmPipelineExecutor (time, partition, requeue_signals=("SIGTERM",)) in place of LocalPipelineExecutor. Finished tasks
are marked in datatrove-logs/completions and are not run again; a task that was stopped starts again, twenty times at most.
"""
import pathlib
import subprocess
import sys

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep

AGAIN = str(pathlib.Path(__file__).resolve().parent / "again.sh")


class Qkengine(PipelineStep):
    """Shares the run; with a common output.data_root datatrove's rank is not needed."""

    name = "qkengine"

    def __init__(self, config):
        super().__init__()
        self.config = config

    def run(self, data, rank=0, world_size=1):
        # Without a common folder: add "--shard", f"{rank}/{world_size}" and a data_root of each node's own.
        subprocess.run([AGAIN, "qkengine", "run", self.config], check=True)
        yield from data or ()


if __name__ == "__main__":
    tasks = int(sys.argv[2])
    LocalPipelineExecutor([Qkengine(sys.argv[1])], tasks=tasks, workers=tasks, logging_dir="datatrove-logs").run()
