"""What the processes of a run on several NPUs do where there is none: all but the devices and HCCL is as on NPUs."""

import json
import os
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist

from workspace import devices
from workspace.training import processes
from workspace.training.task import Task

_process = processes._process
_VARIABLES = ("HCCL_", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_")


def process_on_cpu(function: Callable[[Task], None], task: Task) -> None:
    """The process of a run, whose NPUs are CPUs and talk through gloo."""
    cpu = devices.device("cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "device", lambda kind: cpu)
        patch.setitem(processes.BACKENDS, "npu", "gloo")
        _process(function, task)


def witness_environment(task: Task) -> None:
    """Writes what the process was told, once it can talk to the others."""
    dist.barrier()
    told = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}
    told["device"] = ",".join(task.devices)
    (task.folder / f"told.{dist.get_rank()}").write_text(json.dumps(told))


def sum_over_processes(task: Task) -> None:
    """Writes what the process was told, and adds up a tensor of each device."""
    told = {"backend": dist.get_backend(), "size": str(dist.get_world_size()), "device": task.devices[0]}
    told |= {name: value for name, value in os.environ.items() if name.startswith("HCCL_")}
    (task.folder / f"told.{dist.get_rank()}").write_text(json.dumps(told))
    dist.all_reduce(torch.ones(3, device=task.devices[0]))
