#!/usr/bin/env python3
"""configs/cluster/*.yaml against published schemas: those of Kubernetes in kubernetes-validate, SkyPilot's own in sky.utils.schemas.

What is wrong on purpose must be refused, or the schemas were not looked at.
"""
import copy
import pathlib
import sys

import jsonschema
import kubernetes_validate
import yaml
from sky.utils import schemas

RECIPES = pathlib.Path(__file__).resolve().parents[2] / "configs/cluster"
KUBERNETES = "1.33"


def kubernetes(job):
    kubernetes_validate.validate(job, KUBERNETES, strict=True)


def skypilot(task):
    jsonschema.validate(task, schemas.get_task_schema())
    jsonschema.validate(task["resources"], schemas.get_resources_schema())


def check(name, validate, wrong):
    good = yaml.safe_load((RECIPES / name).read_text())
    validate(good)
    for change in wrong:
        bad = copy.deepcopy(good)
        change(bad)
        try:
            validate(bad)
        except Exception:   # each package has one of its own
            continue
        raise AssertionError(f"{name}: what is wrong is not refused")
    print(f"ok schemas: {name}")


if __name__ == "__main__":
    check("kubernetes.yaml", kubernetes, [
        lambda job: job["spec"].update(completionMod="Indexed"),
        lambda job: job["spec"].update(backoffLimitPerIndex="many"),
        lambda job: job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"].update(values=["1"])])
    check("skypilot.yaml", skypilot, [
        lambda task: task.update(num_node=4),
        lambda task: task["resources"].update(use_spot="perhaps"),
        lambda task: task["resources"]["job_recovery"].update(recover_on_exit_codes=["three"])])
    sys.exit(0)
