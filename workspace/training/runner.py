"""MMEngine's Runner with a device of our choice and checkpoints that survive a kill."""

import copy
import io
import os
import shutil
from pathlib import Path
from typing import Any

import mmdet
import mmengine
import torch
from mmengine.model import MMDistributedDataParallel, is_model_wrapper, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.runner import Runner
from torch import nn

from workspace.errors import UserError
from workspace.files import write_atomically
from workspace.spec import CHECKPOINT, RunSpec
from workspace.training.batch_norm import share_batch_norms
from workspace.training.weights import load_backbone

MODEL = "model.pth"
BEST = "best.pth"
"""The weights that evaluated best so far; where those are the last ones, another name of the same file."""


class RunRunner(Runner):  # type: ignore[misc]
    """Trains on ``cfg.device`` and goes on from the checkpoint in the run folder, if one is there.

    MMEngine chooses the device when it is imported, and loads checkpoints by unpickling. Here a checkpoint holds
    tensors and plain values only, is loaded with ``weights_only``, and is replaced in one step.

    Attributes:
        backbone_weights: the file on this machine of what ``backbone.init_cfg`` names by its URL.
    """

    backbone_weights: Path | None = None

    @property
    def run_folder(self) -> Path:
        return Path(self.work_dir).parent

    @property
    def plain_model(self) -> nn.Module:
        """The model without what shares it among processes."""
        model: nn.Module = self.model.module if is_model_wrapper(self.model) else self.model
        return model

    def dump_config(self) -> None:
        """Left to the worker: formatting the configuration takes a second, and MMEngine does so four times."""

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """The environment stands in the result; see `dump_config` for the configuration."""

    def build_optim_wrapper(self, optim_wrapper: OptimWrapper | dict[str, Any]) -> OptimWrapper:
        """MMEngine's builder would exchange the wrapper for its own on an Ascend 910A, in CPU runs beside one too."""
        if isinstance(optim_wrapper, OptimWrapper):
            return optim_wrapper
        described = copy.deepcopy(optim_wrapper)
        constructor = dict(
            type=described.pop("constructor"),
            paramwise_cfg=described.pop("paramwise_cfg", None),
            optim_wrapper_cfg=described,
        )
        built: OptimWrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(constructor)(self.model)
        return built

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        device = torch.device(self.cfg.device)
        if not self.distributed:
            return revert_sync_batchnorm(model.to(device))  # type: ignore[no-any-return]
        if self.cfg.share_batch_norms:
            share_batch_norms(model)
        wrapped: nn.Module = MMDistributedDataParallel(
            model.to(device),
            forward_sync_buffers=False,
            find_unused_parameters=self.cfg.find_unused_parameters,
        )
        return wrapped

    def _init_model_weights(self) -> None:
        starts_from: Any = self.cfg.model.backbone.get("init_cfg")
        if not isinstance(starts_from, dict) or starts_from["type"] != "Pretrained":
            super()._init_model_weights()
            return
        backbone: Any = self.plain_model.backbone
        backbone.init_cfg = None  # MMEngine would download what it names
        super()._init_model_weights()
        if (self.run_folder / CHECKPOINT).exists():
            return  # they are in there, trained further
        if self.backbone_weights is None:
            raise UserError(
                f"this run starts from {starts_from['checkpoint']}: its task must name that file on this machine"
            )
        load_backbone(backbone, self.backbone_weights)

    def load_or_resume(self) -> None:
        path = self.run_folder / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.plain_model.load_state_dict(state["state_dict"])
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

    def save_model(self, config: str, spec: RunSpec, name: str = MODEL, *, ap: float | None) -> None:
        """Stores the weights as MMDetection reads them.

        Args:
            config: the configuration as text, from which MMDetection rebuilds the model.
            spec: from which `python -m workspace test` does.
            name: of the file in the run folder.
            ap: that they evaluated at, in points; ``None`` where they were not evaluated.
        """
        meta = {
            "epoch": self.epoch,
            "iter": self.iter,
            "ap": ap,
            "cfg": config,
            "spec": spec.to_json(),
            "dataset_meta": dict(self.train_dataloader.dataset.metainfo),
            "mmengine_version": mmengine.__version__,
            "mmdet_version": mmdet.__version__,
        }
        state = {"meta": meta, "state_dict": self._weights()}
        _save(state, self.run_folder / name)

    def name_model(self, name: str) -> None:
        """Gives the stored model a second name: a hard link, or a copy where the file system has none."""
        model = self.run_folder / MODEL

        def link(temporary: Path) -> None:
            try:
                os.link(model, temporary)
            except OSError:
                shutil.copyfile(model, temporary)

        write_atomically(self.run_folder / name, link)

    def best_ap(self) -> float | None:
        """AP in points of the weights that an attempt before this one kept as the best, if there are any."""
        path = self.run_folder / BEST
        if not path.exists():
            return None
        ap: float = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["meta"]["ap"]
        return ap

    def drop(self, name: str) -> None:
        """Removes a file of the run folder, if it is there."""
        (self.run_folder / name).unlink(missing_ok=True)

    def drop_checkpoint(self) -> None:
        """Removes what only a run that goes on needs."""
        self.drop(CHECKPOINT)

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.cpu() for name, tensor in self.plain_model.state_dict().items()}


def _save(state: dict[str, Any], path: Path) -> None:
    """Through memory, because torch's own writer reports a full disk as an internal error."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, lambda temporary: temporary.write_bytes(buffer.getvalue()))
