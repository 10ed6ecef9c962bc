"""What a worker does: train the run of a `Task`, from its last checkpoint if there is one, and write its result."""

import fcntl
import warnings
from contextlib import suppress
from typing import Any

import mmcv
import mmengine
import numpy as np
import torch
from mmdet.utils import register_all_modules
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from workspace import devices
from workspace.detectors import detector, mmdet_version
from workspace.errors import UserError
from workspace.files import left_by_kills, write_json
from workspace.journal import JournalWriter, device_seconds
from workspace.matches import MATCHES
from workspace.precision.audit import ArithmeticRecorder, Audit, contradictions, measured_fp32
from workspace.precision.islands import make_islands
from workspace.spec import AUDIT, CONFIG, LOCK, RESULT, SPEC
from workspace.training import data, metric, modules, optim_wrapper  # noqa: F401  registers what configurations name
from workspace.training.config import build_config, island_members
from workspace.training.divergence import DivergedError, DivergenceHook
from workspace.training.hooks import BufferHook, CheckpointHook, EpochSeedHook, JournalHook, WeightsHook
from workspace.training.matches import last_matches
from workspace.training.nms import suppress_where_possible
from workspace.training.processes import ProcessKilledError, on_all_devices, reason
from workspace.training.runner import RunRunner
from workspace.training.system_metrics import system_metrics
from workspace.training.task import Task


def train(task: Task) -> None:
    """Trains and evaluates the run unless its result is already there.

    Writes ``spec.json``, ``config.py``, ``events.jsonl``, ``audit.json``, ``model.pth``, ``best.pth``, ``matches.npz``
    and, last, ``result.json``.
    Exceptions are written to the journal as the reason of failure and raised. A run that diverges does not fail: its
    result says so, and its AP is that of its evaluation, or 0 from the step on at which its weights are not finite.

    Another process that trains this run, for another experiment or as what a kill has left, is waited for.

    Raises:
        UserError: the audit contradicts the precision, or the devices cannot share the batch.
        ProcessKilledError: one of several processes was killed.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    with (task.folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (task.folder / RESULT).exists():
            return
        for half_written in left_by_kills(task.folder):
            half_written.unlink()
        journal = JournalWriter(task.folder)
        try:
            write_json(task.folder / SPEC, task.spec.to_json())
            with system_metrics(task, journal):
                if len(task.devices) > 1:
                    on_all_devices(_train_together, task)
                else:
                    _train(task, journal)
        except ProcessKilledError:
            raise  # as a worker that is killed: without a word in the journal, so that it is started again
        except BaseException as error:
            with suppress(OSError):  # a full disk must not hide itself
                journal.write("end", status="failed", reason=reason(error))
            raise
        finally:
            journal.close()


def _train_together(task: Task) -> None:
    """In each of several processes; the first one alone writes."""
    if get_rank() > 0:
        _train(task, None)
        return
    journal = JournalWriter(task.folder)
    try:
        _train(task, journal)
    finally:
        journal.close()


def _train(task: Task, journal: JournalWriter | None) -> None:
    spec = task.spec
    torch.set_num_threads(task.threads)
    device = devices.device(spec.device)
    device.prepare(spec.precision)
    device.check()
    device.select(task.devices[0])
    device.require(spec.precision)
    device.use_strict_fp32()  # in every arm: all are evaluated in FP32, and islands compute in it
    suppressed_on = suppress_where_possible(task.devices[0])
    judged_by = detector(spec.detector).metric
    versions = _versions()
    runner = build_runner(task)
    observer = JournalHook(journal, judged_by)
    audit = AuditHook(task, nms=suppressed_on, keep=journal is not None)
    divergence = DivergenceHook(observer)
    for hook in (EpochSeedHook(), audit, observer, divergence):
        runner.register_hook(hook)
    if runner.distributed:
        runner.register_hook(BufferHook())
    if journal is not None:
        config = runner.cfg.pretty_text
        (task.folder / CONFIG).write_text(config)
        weights = WeightsHook(task.keep, observer, judged_by, config, spec)
        runner.register_hook(weights)
        runner.register_hook(CheckpointHook(journal))
    matches = None
    try:
        runner.train()
        if journal is not None:
            matches = last_matches(runner)
    except DivergedError:
        runner.train_loop._iter += 1  # MMEngine counts a step after its hooks
        observer.after_val_epoch(runner)  # of nothing: a score that is nan is no detection
    if journal is None:
        return
    weights.finish(runner)
    if matches is not None:
        matches.save(task.folder / MATCHES)
    write_json(
        task.folder / RESULT,
        {
            "signature": spec.signature,
            "metric": judged_by,
            "ap": 100 * observer.last_evaluation[judged_by],
            "metrics": observer.last_evaluation,
            "steps": runner.iter,
            "skipped_steps": runner.optim_wrapper.skipped_steps,
            "diverged": divergence.verdict(runner),
            "seconds": device_seconds(task.folder),
            "step_seconds": _median_step(runner),
            "peak_memory": device.peak_memory(),
            "audit": audit.observed,
            "versions": versions,
        },
    )
    runner.drop_checkpoint()  # not before the result is safe
    journal.write("end", status="finished")


def build_runner(task: Task) -> RunRunner:
    """The runner of that task, with its FP32 islands made and no hooks of ours yet."""
    register_all_modules()
    with warnings.catch_warnings():
        # Hooks, loops and wrappers of MMEngine warn about settings that are meant as they are.
        warnings.simplefilter("ignore", UserWarning)
        runner: RunRunner = RunRunner.from_cfg(build_config(task))
    runner.backbone_weights = task.weights
    make_islands(runner.plain_model, island_members(task.spec), task.spec.device)
    return runner


class AuditHook(Hook):  # type: ignore[misc]
    """Records the arithmetic of the first step and stops a run whose audit contradicts its precision.

    Args:
        nms: kind of the device that boxes are suppressed on.
        keep: whether to store the audit too.
    """

    priority = "VERY_LOW"

    def __init__(self, task: Task, *, nms: str, keep: bool) -> None:
        self._task = task
        self._nms = nms
        self._keep = keep
        self._recorder: ArithmeticRecorder | None = None
        self.observed: Audit = {}

    def before_train(self, runner: RunRunner) -> None:
        arithmetic = runner.optim_wrapper.arithmetic
        self._recorder = ArithmeticRecorder(runner.plain_model, island_members(self._task.spec), arithmetic.fp32_mode)

    def after_train_iter(self, runner: RunRunner, *_: Any, **__: Any) -> None:
        if self._recorder is None:
            return
        arithmetic = runner.optim_wrapper.arithmetic
        scaler = arithmetic.scaler
        place = self._task.devices[0]
        trained_in = None
        if not self._task.spec.precision.is_mixed:
            with arithmetic.forward():
                trained_in = measured_fp32(place)
        self.observed = {
            **self._recorder.stop(),
            "optim_wrapper": type(runner.optim_wrapper).__name__,
            "scaler": None if scaler is None else f"{type(scaler).__module__}.{type(scaler).__qualname__}",
            "device": devices.device(self._task.spec.device).facts(),
            "measured_fp32": {"training": trained_in, "evaluation": measured_fp32(place)},
            "nms": self._nms,
            "precision": self._task.spec.to_json()["precision"],
        }
        self._recorder = None
        found = contradictions(self.observed, self._task.spec.precision)
        self.observed["contradictions"] = found
        if self._keep:
            write_json(self._task.folder / AUDIT, self.observed)
        if found:
            raise UserError(f"the audit contradicts precision {self._task.spec.precision.name}: {'; '.join(found)}")


def _median_step(runner: RunRunner) -> float:
    """Seconds of a training step of this attempt, the loading of its pictures included; its median."""
    times, _ = runner.message_hub.get_scalar("train/time").data
    return float(np.median(times))


def _versions() -> dict[str, str]:
    """Versions of what computes a run's numbers."""
    return {
        "torch": torch.__version__,
        "mmdet": mmdet_version(),
        "mmcv": mmcv.__version__,
        "mmengine": mmengine.__version__,
    }
