"""A run on several devices: one process each, started and watched over by torch's elastic agent, as by ``torchrun``.

The agent works in the process that holds the run; none of its processes outlives that one.
"""

import dataclasses
import json
import multiprocessing
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from workspace import devices
from workspace.devices import hccl
from workspace.errors import UserError
from workspace.spec import DeviceKind
from workspace.training.task import Task, preload

BACKENDS: dict[DeviceKind, str] = {"cpu": "gloo", "cuda": "nccl", "npu": "hccl"}
"""What the processes of a run talk through."""

_LINGER_SECONDS = 2.0
"""From a failure to the end of its process: many times the interval at which the agent looks."""


class ProcessKilledError(Exception):
    """A signal from outside ended one of a run's processes: the run may go on from its checkpoint."""


def on_all_devices(function: Callable[[Task], None], task: Task) -> None:
    """Calls ``function`` in one process for each device of the task, all of them in one process group.

    Args:
        function: of a module; its task has the one device of its process.

    Raises:
        UserError: the batch cannot be shared equally, `RANK_TABLE_FILE` is of another run, or a process raised it.
        RuntimeError: a process raised something else. The message is the first line of that; its traceback is printed.
        ProcessKilledError: a process was killed.
    """
    count, batch = len(task.devices), task.spec.recipe.batch_size
    if batch % count:
        raise UserError(f"{count} devices cannot share a batch of {batch} equally: take a number that divides it")
    if task.spec.device == "npu" and (table := os.environ.get(hccl.RANK_TABLE)):
        hccl.check_rank_table(Path(table), count)
    # Its fork server imports once for all processes. Forking this process is out of the question: it has threads.
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(preload(task.spec.device)))
    with tempfile.TemporaryDirectory() as reports:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=task.spec.signature,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            start_method="forkserver",
            logs_specs=DefaultLogsSpecs(log_dir=reports),
            # It insists on handling one. Those that end this process do so at once, and its processes see it.
            signals_to_handle="SIGUSR2",
        )
        try:
            elastic_launch(config, _process)(function, task)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            name = f"process {rank + 1} of {count}"
            if failure.exitcode < 0:
                killer = signal.Signals(-failure.exitcode).name
                raise ProcessKilledError(f"{name} was killed by {killer}, out of memory perhaps") from None
            if "mendable" not in failure.error_file_data:
                raise RuntimeError(f"{name} ended with exit code {failure.exitcode}") from None
            kind = UserError if failure.error_file_data["mendable"] else RuntimeError
            raise kind(failure.message) from None


def reason(error: BaseException) -> str:
    """The first line of what an exception says."""
    text = str(error).strip() or "".join(traceback.format_exception_only(error)).strip()
    return text.splitlines()[0]


def _process(function: Callable[[Task], None], task: Task) -> None:
    _end_with_parent()
    own = dataclasses.replace(task, devices=(task.devices[int(os.environ["RANK"])],))
    try:
        if task.spec.device == "npu":
            os.environ.update(hccl.settings(os.environ))
        device = devices.device(task.spec.device)
        device.prepare(task.spec.precision)
        device.check()
        device.select(own.devices[0])
        dist.init_process_group(BACKENDS[task.spec.device])
        function(own)
        dist.destroy_process_group()
    except BaseException as error:
        traceback.print_exc()
        report = {"message": reason(error), "timestamp": int(time.time()), "mendable": isinstance(error, UserError)}
        Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(json.dumps(report))
        # The others fail as soon as this process is gone, and so does this one when another was killed. Whoever
        # ends first is taken for the cause.
        time.sleep(_LINGER_SECONDS)
        raise SystemExit(1) from None


def _end_with_parent() -> None:
    """Ends this process as soon as the one that holds the run is gone, even if it was killed.

    The death signal that torch asks for comes from the fork server, and is one that workers ignore.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "a process of a run is started by on_all_devices"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
