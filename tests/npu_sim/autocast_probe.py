"""What autocast does to the arguments of an operator, found out by calling it.

A dispatch table says whether autocast has a kernel for an operator, not what that kernel does. So the operator is
called with FP32, with FP16 and with mixed tensors, and stopped where it arrives below autocast: what its arguments have
become there tells.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SHAPES = ((2, 2), (2, 2, 2, 2), (2,), (1, 2, 2), (2, 2, 2, 2, 2), ())
"""Tried one after another, until the operator takes tensors of that shape."""

_PLAIN: Mapping[str, Any] = {
    "int": 1,
    "SymInt": 1,
    "float": 1.0,
    "bool": False,
    "number": 1,
    "Scalar": 1,
    "str": "mean",
}


class _ArrivedError(Exception):
    """What a call was given: the types of its floating-point tensors, and the type that it was asked for."""

    def __init__(self, given: list[Any]) -> None:
        super().__init__()
        self.dtypes = {v.dtype for v in given if isinstance(v, torch.Tensor) and v.is_floating_point()}
        self.asked = next((value for value in given if isinstance(value, torch.dtype)), None)


class _StopBelowAutocast(TorchDispatchMode):
    """Ends the first call that is no cast with what it was given."""

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.detach, torch.ops.aten.view):
            return func(*args, **(kwargs or {}))
        raise _ArrivedError(tree_leaves((args, kwargs)))


def computed_in(name: str, device: str) -> str | None:
    """What an overload such as ``sum.dim_IntList`` is computed in under ``torch.autocast(device, torch.float16)``.

    Returns: ``fp16`` or ``fp32`` whatever it is given, ``widest`` of what it is given, ``as found``, ``refused``, or
    ``None`` where no arguments were found that the operator takes.
    """
    packet, _, overload = name.partition(".")
    op: OpOverload = getattr(getattr(torch.ops.aten, packet), overload or "default")
    for shape in SHAPES:
        try:
            wide = _arrival(op, device, shape, lambda i: torch.float32)
            half = _arrival(op, device, shape, lambda i: torch.float16)
            mixed = _arrival(op, device, shape, lambda i: torch.float32 if i else torch.float16)
        except RuntimeError as error:
            if "unsafe to autocast" in str(error):
                return "refused"
            continue
        except (TypeError, ValueError, IndexError, KeyError, NotImplementedError):
            continue
        if wide.dtypes == {torch.float16}:
            return "fp16"
        if half.dtypes == {torch.float32} or half.asked is torch.float32:
            return "fp32"
        return "widest" if mixed.dtypes == {torch.float32} and _tensors(op) > 1 else "as found"
    return None


def _arrival(op: OpOverload, device: str, shape: tuple[int, ...], dtype: Callable[[int], torch.dtype]) -> _ArrivedError:
    arguments = list(_arguments(op, device, shape, dtype))
    try:
        with torch.autocast(device, dtype=torch.float16), _StopBelowAutocast():
            op(*arguments)
    except _ArrivedError as arrived:
        return arrived
    raise NotImplementedError(f"{op} calls nothing")


def _arguments(
    op: OpOverload, device: str, shape: tuple[int, ...], dtype: Callable[[int], torch.dtype]
) -> Iterator[Any]:
    """Values for the required arguments, the i-th tensor among them of type ``dtype(i)``."""
    count = 0

    def tensor() -> torch.Tensor:
        nonlocal count
        count += 1
        return torch.ones(shape, device=device, dtype=dtype(count - 1))

    for argument in op._schema.arguments:
        kind = str(argument.type)
        if argument.has_default_value() or argument.kwarg_only:
            return
        if kind == "Tensor":
            yield tensor()
        elif kind == "List[Tensor]":
            yield [tensor(), tensor()]
        elif kind == "List[Optional[Tensor]]":
            yield [torch.zeros(1, device=device, dtype=torch.long)]
        elif kind.startswith("Optional"):
            yield None
        elif kind.startswith("List"):
            yield [_PLAIN[kind.removeprefix("List[").removesuffix("]")]] * max(1, len(shape) - 2)
        else:
            yield _PLAIN[kind]


def _tensors(op: OpOverload) -> int:
    return sum("Tensor" in str(argument.type) for argument in op._schema.arguments)
