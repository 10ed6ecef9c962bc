"""FP32 islands: module groups that stay in FP32 inside a mixed-precision model."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from workspace.errors import UserError


def make_islands(model: nn.Module, members: Iterable[str], device_type: str) -> None:
    """Runs each member of ``model`` with autocast off and its floating-point inputs widened to FP32.

    Args:
        members: a module's dotted name, or ``module:method`` for one of its methods.
        device_type: that of the autocast context, ``cpu``, ``cuda`` or ``npu``.

    Raises:
        UserError: the model has no such module or method.
    """
    for member in members:
        path, _, method = member.partition(":")
        method = method or "forward"
        try:
            owner = model.get_submodule(path)
            function = getattr(owner, method)
        except AttributeError:
            raise UserError(f"FP32 island {member!r}: {type(model).__name__} has no such module or method") from None
        setattr(owner, method, _in_fp32(function, device_type))


def _in_fp32(function: Callable[..., Any], device_type: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def island(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device_type, enabled=False):
            return function(*tree_map(_widen, args), **tree_map(_widen, kwargs))

    return island


def _widen(value: Any) -> Any:
    narrow = isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if narrow else value
