"""What each member of a model puts out and is sent back, in one precision against FP32.

Tensors are compared entry by entry on a fixed sample of their entries, so that a full-size network fits in memory
twice; overflow is counted on all of them.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from workspace.diagnosis.members import tensors, wrapped

ENTRIES = 4096
"""Of each tensor that are compared; all of a smaller one."""

_LARGEST = 65504.0  # of FP16


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """How far tensors in one precision are from the same in FP32.

    Attributes:
        error: L2 norm of the difference, relative to FP32's; inf where an entry is not finite, nan where FP32's is 0.
        cosine: of the angle between them; nan where either is zero or not finite.
        overflow: share of entries that are inf, nan or at FP16's largest number, and in FP32 are not.
        underflow: share of entries that are zero and in FP32 are not.
    """

    error: float
    cosine: float
    overflow: float
    underflow: float


@dataclass
class Seen:
    """A sample of the tensors that a member gave in one pass, by number in the order in which it gave them."""

    values: dict[int, torch.Tensor] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    too_large: int = 0

    def add(self, number: int, tensor: torch.Tensor) -> None:
        flat = tensor.detach().reshape(-1)
        self.sizes[number] = flat.numel()
        self.too_large += int((~(flat.abs() < _LARGEST)).sum())
        if flat.numel() > ENTRIES:
            flat = flat[_places(flat.numel()).to(flat.device)]
        self.values[number] = flat.to("cpu", torch.float32, copy=True)  # what comes next may work in place

    def sample(self) -> torch.Tensor:
        return torch.cat([self.values[number] for number in sorted(self.values)]).double()


@dataclass
class Observation:
    """Outputs of every member in one pass, and gradients with respect to them, as scaled as the loss was.

    Attributes:
        clamped: by member, elements that the hardware clamped within it, as far as it tells.
    """

    outputs: dict[str, Seen] = field(default_factory=dict)
    gradients: dict[str, Seen] = field(default_factory=dict)
    clamped: Counter[str] = field(default_factory=Counter)


@contextmanager
def observed(model: nn.Module, members: Iterable[str], clamped: Callable[[], int]) -> Iterator[Observation]:
    """Inside, notes what the members give in a forward pass, and what comes back to them in the backward pass.

    Nothing is changed: results are handed on as they are.

    Args:
        clamped: how many elements were clamped so far; see `Arithmetic.clamped`.
    """
    seen = Observation()

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            before = clamped()
            result = function(*args, **kwargs)
            seen.clamped[name] += clamped() - before
            for tensor in tensors(result):
                outputs = seen.outputs.setdefault(name, Seen())
                number = len(outputs.sizes)
                outputs.add(number, tensor)
                if tensor.requires_grad:
                    tensor.register_hook(  # type: ignore[no-untyped-call]
                        _noting(seen.gradients.setdefault(name, Seen()), number)
                    )
            return result

        return watched

    with wrapped(model, members, wrap):
        yield seen


def _noting(gradients: Seen, number: int) -> Callable[[torch.Tensor], None]:
    def note(gradient: torch.Tensor) -> None:
        gradients.add(number, gradient)

    return note


def deviation(found: Seen | None, reference: Seen | None, scale: float = 1.0) -> Deviation | None:
    """Of what a member gave; ``None`` where it gave nothing that can be compared, such as tensors of other sizes.

    Args:
        scale: that ``found`` is multiplied by, as gradients are by the loss scale.
    """
    if found is None or reference is None or found.sizes != reference.sizes:
        return None
    values, expected = found.sample() / scale, reference.sample()
    overflow = max(0, found.too_large - reference.too_large) / max(1, sum(found.sizes.values()))
    underflow = float(((values == 0) & (expected != 0)).double().mean()) if values.numel() else 0.0
    return Deviation(
        error=relative_error(values, expected), cosine=_cosine(values, expected), overflow=overflow, underflow=underflow
    )


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """``||found - expected|| / ||expected||``; inf where ``found`` is not finite, nan where ``expected`` alone is 0."""
    difference, norm = float((found - expected).norm()), float(expected.norm())
    if not math.isfinite(difference):
        return math.inf
    if norm == 0:
        return 0.0 if difference == 0 else math.nan
    return difference / norm


def _cosine(found: torch.Tensor, expected: torch.Tensor) -> float:
    norms = float(found.norm() * expected.norm())
    return float(found @ expected) / norms if norms > 0 and math.isfinite(norms) else math.nan


def _places(size: int) -> torch.Tensor:
    """Spread over the whole tensor, and the same in every pass; jittered, so as not to stay in one column of it."""
    jitter = torch.rand(ENTRIES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ((torch.arange(ENTRIES, dtype=torch.float64) + jitter) * (size / ENTRIES)).long().clamp(max=size - 1)
