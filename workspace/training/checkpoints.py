"""Reading trained weights, ours or MMDetection's, without running anything that a file brings along.

MMEngine unpickles its checkpoints, and a pickle can run any code. Here ``torch.load(weights_only=True)`` builds
tensors, plain values and the types listed below, which MMEngine's ``CheckpointHook`` stores beside the weights; a file
that asks for anything else is refused.
"""

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import nn
from torch.serialization import safe_globals

from workspace.errors import UserError
from workspace.spec import SPEC, RunSpec

_LONGEST = 160  # characters of torch's account of what does not fit


def _attribute(owner: object, name: object) -> Any:
    """Stands in for ``getattr``, by which a pickle names the methods that a `HistoryBuffer` lists."""
    if owner is HistoryBuffer and name in ("min", "max", "current", "mean"):
        return getattr(HistoryBuffer, str(name))
    raise pickle.UnpicklingError(f"asks for the attribute {name!r} of {owner!r}")


_SAFE_TYPES: list[Any] = [
    HistoryBuffer,  # the message hub's log
    (_attribute, "builtins.getattr"),
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in "?bhilqBHILQefd"},
    *((np.empty(0).__reduce__()[0], f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((np.float64().__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""NumPy 1 wrote ``numpy.core`` where NumPy 2 writes ``numpy._core``."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Trained weights and what is known of them.

    Attributes:
        classes: in the order of the labels; ``None`` when the file does not say.
        spec: of the run, where it is one of ours and of this version.
    """

    path: Path
    weights: Mapping[str, torch.Tensor]
    classes: tuple[str, ...] | None
    spec: RunSpec | None

    def load_into(self, model: nn.Module) -> None:
        """Loads the weights, also under names of earlier versions of MMDetection that its modules know.

        Raises:
            UserError: they are not exactly this model's.
        """
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip()
            told = first if len(first) <= _LONGEST else f"{first[:_LONGEST]}..."
            raise UserError(
                f"{self.path}: not the weights of this {type(model).__name__} ({told}); is it another model or scale?"
            ) from None


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads ``model.pth`` of a run, or a checkpoint of MMDetection (2 or 3).

    Raises:
        UserError: it is damaged, holds no weights, or asks for more than the safe types.
        OSError: it cannot be read.
    """
    with safe_globals(_SAFE_TYPES):
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError) as error:
            raise UserError(f"{path}: refused: {_why(error)}") from None
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path}: no checkpoint of MMDetection: it has no state_dict of tensors")
    meta = content.get("meta")
    if not isinstance(meta, dict):
        meta = {}
    return Checkpoint(path=path, weights=state, classes=_classes(meta), spec=_spec(path, meta))


def _why(error: Exception) -> str:
    """torch names the first type that it refuses, and goes on to advise how to load it all the same."""
    unsafe = re.search(r"GLOBAL ([\w.]+)", str(error))
    if unsafe:
        return f"it asks for {unsafe[1]}, which is neither a weight nor a plain value and could run code"
    return "it is damaged, or holds something else than weights and plain values"


def _classes(meta: Mapping[str, Any]) -> tuple[str, ...] | None:
    """MMDetection 3 stores ``dataset_meta``, in either case of letters; MMDetection 2 ``CLASSES``."""
    described = meta.get("dataset_meta")
    for source, key in ((described, "classes"), (described, "CLASSES"), (meta, "CLASSES")):
        if isinstance(source, dict) and source.get(key):
            named = source[key]
            return (named,) if isinstance(named, str) else tuple(map(str, named))
    return None


def _spec(path: Path, meta: Mapping[str, Any]) -> RunSpec | None:
    """From the file itself, or from the run's folder for one written before specs were stored in it."""
    try:
        if "spec" in meta:
            return RunSpec.from_json(meta["spec"])
        beside = path.with_name(SPEC)
        return RunSpec.from_json(json.loads(beside.read_text())) if beside.is_file() else None
    except (ValueError, LookupError, TypeError):  # of another version of this project
        return None
