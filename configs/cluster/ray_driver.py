"""Ray: processes of one run as tasks. usage: python ray_driver.py my.yaml WORKERS [GPUS of each]

output.data_root must be seen by all nodes; no task needs a rank. Ray binds the GPU (CUDA_VISIBLE_DEVICES), starts a task again that
was killed or stopped (exit status 3), also on another node, and leaves bad input (1, 2) alone.
"""
import subprocess
import sys

import ray

config, workers, gpus = sys.argv[1], int(sys.argv[2]), float((sys.argv[3:] or [0])[0])


@ray.remote(num_gpus=gpus, max_retries=20, retry_exceptions=[ChildProcessError])
def work():
    status = subprocess.run(["qkengine", "run", config]).returncode
    if status in (1, 2):
        raise ValueError(f"bad input: exit status {status}")
    if status:
        raise ChildProcessError(f"stopped: exit status {status}")


ray.init(log_to_driver=True)
ray.get([work.remote() for _ in range(workers)])
ray.get(work.remote())   # what is left: nothing, as a rule
