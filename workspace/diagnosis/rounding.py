"""Whether an optimizer rounds its weights or its state to half, told by what it leaves, not by what it is called.

A weight in FP16 does not move where the update is below half an ulp of it, ``w + dw == w``: about 2^-12 of the weight
(Micikevicius et al., *Mixed precision training*, 2018, on master copies). With a learning rate that decays, all of them
stop in the end. A second moment in FP16 is zero for gradients below 2^-12.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from workspace.diagnosis.bench import Bench, Tensors
from workspace.diagnosis.gauge import squared_error
from workspace.precision import FP32

LATE = 0.01
"""Of the learning rate: late in a schedule, after the second of two steps, or near the end of a cosine."""

_STEPS = 8
_ON_GRID = 0.5  # of the entries: biases may be left out, and one FP32 number in 8192 is on it by chance
_STANDARD = ("SGD", "Adam", "AdamW")


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """What an optimizer rounds.

    Attributes:
        weights, state: whether most of them are numbers of a 16-bit type after some steps.
        standard: the class of ``torch.optim`` that makes the same updates without rounding; ``None`` where nothing is
            rounded.
    """

    weights: bool
    state: bool
    standard: str | None


def examine(bench: Bench, gradients: Tensors) -> Rounding:
    """Lets the run's optimizer take some steps with those gradients from the bench's weights, and looks at the result.

    Args:
        gradients: of an FP32 step.
    """
    wrapper = bench.optim_wrapper(FP32)
    _walk(bench, wrapper, [gradients] * 2, rate=1.0)
    used = {name: p for name, p in bench.parameters.items() if name in gradients}
    weights = _on_grid([p.detach() for p in used.values()])
    states = [
        (value, gradients[name])
        for name, p in used.items()
        for value in wrapper.optimizer.state.get(p, {}).values()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.shape == p.shape
    ]
    state = bool(states) and _on_grid([value[gradient != 0] for value, gradient in states])
    bench.restore()
    standard = _standard(bench, type(wrapper.optimizer), gradients) if weights or state else None
    return Rounding(weights=weights, state=state, standard=standard)


def displacement(bench: Bench, gradients: list[Tensors], *, optimizer: str | None, rate: float) -> Tensors:
    """Where the bench's weights are moved by `_STEPS` steps with those gradients in turn, from a fresh state.

    Args:
        rate: factor on the learning rate.
    """
    _walk(bench, bench.optim_wrapper(FP32, optimizer), gradients, rate=rate)
    moved = {name: p.detach() - bench.weights[name] for name, p in bench.parameters.items()}
    bench.restore()
    return moved


def error(found: Tensors, reference: Tensors, names: Iterable[str]) -> float:
    """Of a displacement; see `workspace.diagnosis.gauge`."""
    return fmean(squared_error(found[name], reference[name]) for name in names)


def stalled(found: Tensors, reference: Tensors) -> float:
    """Share of the weights that did not move at all and should have."""
    still = sum(int(((value == 0) & (reference[name] != 0)).sum()) for name, value in found.items())
    return still / sum(int((value != 0).sum()) for value in reference.values())


def _walk(bench: Bench, wrapper: Any, gradients: list[Tensors], *, rate: float) -> None:
    bench.restore()
    for group in wrapper.optimizer.param_groups:
        group["lr"] *= rate
    for step in range(_STEPS):
        given = gradients[step % len(gradients)]
        for name, p in bench.parameters.items():
            p.grad = given[name].clone() if name in given else None
        wrapper.step()
    wrapper.zero_grad()


def _on_grid(tensors: list[torch.Tensor]) -> bool:
    """Whether the entries are numbers of FP16, or of BF16."""
    entries = sum(tensor.numel() for tensor in tensors)
    if any(tensor.dtype != torch.float32 for tensor in tensors) or entries == 0:
        return entries > 0
    return any(
        sum(int((tensor == tensor.to(half).float()).sum()) for tensor in tensors) >= _ON_GRID * entries
        for half in (torch.float16, torch.bfloat16)
    )


def _standard(bench: Bench, kind: type, gradients: Tensors) -> str:
    """The ancestor that torch has, else the one of the common classes that moves the weights most alike."""
    for base in kind.__mro__[1:]:
        if base.__module__.startswith("torch.optim.") and base is not torch.optim.Optimizer:
            return base.__name__
    own = displacement(bench, [gradients], optimizer=None, rate=1.0)
    moved = {name: displacement(bench, [gradients], optimizer=name, rate=1.0) for name in _STANDARD}
    return min(_STANDARD, key=lambda name: error(own, moved[name], gradients))
