"""Every member of a model on one batch, in the run's precision beside FP32, in the order of their calls."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._pytree import tree_map

from workspace.diagnosis.bench import HALF, Bench, Step, Tensors, Way
from workspace.diagnosis.findings import MemberFinding
from workspace.diagnosis.members import islands, narrowed, tensors, wrapped
from workspace.diagnosis.observation import Deviation, Observation, Seen, deviation, observed
from workspace.precision import FP32
from workspace.precision.arithmetic import Arithmetic


def portrait(bench: Bench, way: Way, batch: int = 0) -> list[MemberFinding]:
    """One pass in FP32 and one in the run's precision, compared member by member.

    Args:
        way: in the run's precision, at the loss scale that it comes to.
    """
    reference, exact = observe(bench, Way(precision=FP32), batch)
    found, step = observe(bench, way, batch)
    here = _made_here(bench, way, batch)
    scale = step.metrics["loss_scale"]
    return [
        MemberFinding(
            name=name,
            depth=member.depth,
            order=member.order,
            output=deviation(found.outputs.get(name), reference.outputs.get(name)),
            gradient=deviation(found.gradients.get(name), reference.gradients.get(name), scale),
            parameters=_of_parameters(bench, name, step.gradients, exact.gradients),
            clamped=found.clamped[name],
            made_here=here.get(name),
            share=None,
            alone=None,
        )
        for name, member in bench.members.items()
    ]


def clamping(bench: Bench, findings: Sequence[MemberFinding]) -> list[str]:
    """The innermost members in which elements were clamped."""
    over = {finding.name for finding in findings if finding.clamped}
    return [name for name in bench.members if name in over and not over & set(bench.members[name].parts)]


def observe(bench: Bench, way: Way, batch: int) -> tuple[Observation, Step]:
    """What every member gave in one pass that computes in that way, and the step itself."""
    seen: list[Observation] = []

    @contextmanager
    def within(arithmetic: Arithmetic) -> Iterator[None]:
        with observed(bench.model, bench.members, arithmetic.clamped) as observation:
            seen.append(observation)
            yield

    step = bench.step(batch, way, within=within, update=False)
    return seen[0], step


def _made_here(bench: Bench, way: Way, batch: int) -> dict[str, float]:
    """By layer, the error that it adds: computed in half on FP32's own input, beside FP32."""
    dtype = HALF[way.precision.name]
    calls: Counter[str] = Counter()
    difference: dict[str, float] = defaultdict(float)
    norm: dict[str, float] = defaultdict(float)

    def twice(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        patterns = bench.members[name].narrow

        def layer(*args: Any, **kwargs: Any) -> Any:
            pattern = patterns[min(calls[name], len(patterns) - 1)]
            calls[name] += 1
            again = narrowed(tree_map(_copied, (args, kwargs)), pattern, dtype)
            with torch.autocast(bench.kind, dtype=dtype):
                found = function(*again[0], **again[1])
            exact = function(*args, **kwargs)
            for one, other in zip(tensors(found), tensors(exact), strict=True):
                difference[name] += float((one.double() - other.double()).square().sum())
                norm[name] += float(other.double().square().sum())
            return exact

        return layer

    layers = [name for name, member in bench.members.items() if ":" not in name and not member.parts]
    bench.restore()
    wrapper = bench.optim_wrapper(way.precision)
    with torch.no_grad(), islands(bench.model, [""], bench.kind), wrapped(bench.model, layers, twice):
        bench.forward(batch, wrapper)
    bench.restore()
    return {name: _ratio(difference[name], norm[name]) for name in layers if norm[name] > 0}


def _ratio(difference: float, norm: float) -> float:
    """Of the roots of two sums of squares; inf where the first is not finite."""
    return math.sqrt(difference / norm) if math.isfinite(difference) else math.inf


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value  # a layer may work in place


def _of_parameters(bench: Bench, name: str, found: Tensors, reference: Tensors) -> Deviation | None:
    """Of the gradients of a module's own parameters, all entries."""
    prefix = f"{name}." if name else ""
    own = [
        f"{prefix}{p}"
        for p, _ in ([] if ":" in name else bench.model.get_submodule(name).named_parameters(recurse=False))
        if f"{prefix}{p}" in reference and f"{prefix}{p}" in found
    ]
    seen, expected = Seen(), Seen()
    for number, parameter in enumerate(own):
        seen.add(number, found[parameter])
        expected.add(number, reference[parameter])
    return deviation(seen, expected) if own else None
