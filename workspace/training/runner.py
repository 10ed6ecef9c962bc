"""MMEngine's Runner with a device of our choice and checkpoints that survive a kill."""

import io
from pathlib import Path
from typing import Any

import mmdet
import mmengine
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import Runner
from torch import nn

from workspace.files import write_atomically
from workspace.spec import RunSpec

CHECKPOINT = "checkpoint.pth"
MODEL = "model.pth"


class RunRunner(Runner):  # type: ignore[misc]
    """Trains on ``cfg.device`` and goes on from the checkpoint in the run folder, if one is there.

    MMEngine chooses the device when it is imported, and loads checkpoints by unpickling. Here a checkpoint holds
    tensors and plain values only, is loaded with ``weights_only``, and is replaced in one step.
    """

    @property
    def run_folder(self) -> Path:
        return Path(self.work_dir).parent

    def dump_config(self) -> None:
        """Left to the worker: formatting the configuration takes a second, and MMEngine does so four times."""

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """The environment stands in the result; see `dump_config` for the configuration."""

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        return revert_sync_batchnorm(model.to(torch.device(self.cfg.device)))  # type: ignore[no-any-return]

    def load_or_resume(self) -> None:
        path = self.run_folder / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["state_dict"])
        self.optim_wrapper.load_state_dict(state["optimizer"])
        for scheduler, stored in zip(self.param_schedulers, state["param_schedulers"], strict=True):
            scheduler.load_state_dict(stored)
        self.train_loop._epoch = state["meta"]["epoch"]
        self.train_loop._iter = state["meta"]["iter"]
        self.logger.info(f"going on after epoch {state['meta']['epoch']}")

    def save_progress(self) -> None:
        """Stores all that training needs to go on after this epoch."""
        state = {
            "meta": {"epoch": self.epoch, "iter": self.iter},
            "state_dict": self._weights(),
            "optimizer": self.optim_wrapper.state_dict(),
            "param_schedulers": [scheduler.state_dict() for scheduler in self.param_schedulers],
        }
        _save(state, self.run_folder / CHECKPOINT)

    def save_model(self, config: str, spec: RunSpec) -> None:
        """Stores the trained weights as MMDetection reads them.

        Args:
            config: the configuration as text, from which MMDetection rebuilds the model.
            spec: from which `python -m workspace test` does.
        """
        meta = {
            "epoch": self.epoch,
            "iter": self.iter,
            "cfg": config,
            "spec": spec.to_json(),
            "dataset_meta": dict(self.train_dataloader.dataset.metainfo),
            "mmengine_version": mmengine.__version__,
            "mmdet_version": mmdet.__version__,
        }
        state = {"meta": meta, "state_dict": self._weights()}
        _save(state, self.run_folder / MODEL)

    def drop_checkpoint(self) -> None:
        """Removes what only a run that goes on needs."""
        (self.run_folder / CHECKPOINT).unlink(missing_ok=True)

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.cpu() for name, tensor in self.model.state_dict().items()}


def _save(state: dict[str, Any], path: Path) -> None:
    """Through memory, because torch's own writer reports a full disk as an internal error."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, lambda temporary: temporary.write_bytes(buffer.getvalue()))
