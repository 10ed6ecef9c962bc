"""The members of a model: its modules and their methods, as a training step calls them.

A member is named as `workspace.precision.islands.make_islands` names it: a module's dotted name, or ``module:method``.
They are not read off the model's types but traced in a step, so that modules without parameters, methods of heads and
whatever a user has patched are found alike; a member's parts are the members that it calls.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from workspace.precision.islands import make_islands

_FRAMEWORK = ("torch.", "mmengine.")  # whose methods are machinery; a layer's own is its ``forward``
_MISSING = object()

Wrap = Callable[[str, Callable[..., Any]], Callable[..., Any]]
"""Of a member's name and its function, the function to call in its place."""


@dataclass
class Member:
    """One module or method in a step.

    Attributes:
        depth: of nested calls, 0 for the whole model.
        order: of its first call; the picture of the network by depth follows it.
        parts: members that it calls, by first call.
        narrow: by call, which of the tensors that it was given were of a half type.
    """

    name: str
    depth: int
    order: int
    parts: list[str] = field(default_factory=list)
    narrow: list[tuple[bool, ...]] = field(default_factory=list)


def names_of(model: nn.Module) -> list[str]:
    """Every module and every method of its own class that may be called, called or not."""
    found = []
    for path, module in model.named_modules():
        found.append(path)
        for method in _own_methods(type(module)):
            found.append(f"{path}:{method}")
    return found


def _own_methods(kind: type) -> list[str]:
    own: dict[str, None] = {}
    for base in kind.__mro__:
        if f"{base.__module__}.".startswith(_FRAMEWORK) or base is object:
            continue
        for name, value in vars(base).items():
            if inspect.isfunction(value) and name != "forward" and not name.startswith("__"):
                own[name] = None
    return list(own)


@contextmanager
def wrapped(model: nn.Module, names: Iterable[str], wrap: Wrap) -> Iterator[None]:
    """Inside, those members of the model are called through what ``wrap`` makes of them."""
    with ExitStack() as stack:
        for name in names:
            owner, method = _place(model, name)
            stack.callback(_put_back, owner, method, vars(owner).get(method, _MISSING))
            setattr(owner, method, wrap(name, getattr(owner, method)))
        yield


@contextmanager
def islands(model: nn.Module, members: Iterable[str], device_type: str) -> Iterator[None]:
    """Inside, those members compute in FP32; see `make_islands`."""
    with ExitStack() as stack:
        for name in members:
            owner, method = _place(model, name)
            stack.callback(_put_back, owner, method, vars(owner).get(method, _MISSING))
            make_islands(model, [name], device_type)
        yield


@contextmanager
def alone_in_half(model: nn.Module, members: Iterable[Member], device_type: str, dtype: torch.dtype) -> Iterator[None]:
    """Inside, those members compute as under autocast and everything else in FP32: the reverse of `islands`.

    They are given half tensors where they were given them when the whole model computed in half.
    """
    with ExitStack() as stack:
        stack.enter_context(islands(model, [""], device_type))
        for member in members:
            stack.enter_context(wrapped(model, [member.name], _halving(member, device_type, dtype)))
        yield


def _halving(member: Member, device_type: str, dtype: torch.dtype) -> Wrap:
    calls = 0

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def in_half(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            patterns = member.narrow
            given = narrowed((args, kwargs), patterns[min(calls, len(patterns) - 1)], dtype)
            calls += 1
            with torch.autocast(device_type, dtype=dtype):
                result = function(*given[0], **given[1])
            return tree_map(_widened, result)

        return in_half

    return wrap


def trace(model: nn.Module, step: Callable[[], object]) -> dict[str, Member]:
    """The members that a step calls, by name, in the order of their first calls.

    Args:
        step: runs the forward pass and the losses, in the precision whose types are to be noted.
    """
    called: dict[str, Member] = {}
    stack: list[str] = []

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def traced(*args: Any, **kwargs: Any) -> Any:
            member = called.setdefault(name, Member(name, len(stack), len(called)))
            member.narrow.append(tuple(tensor.dtype in _HALVES for tensor in tensors((args, kwargs))))
            if stack and name not in called[stack[-1]].parts:
                called[stack[-1]].parts.append(name)
            stack.append(name)
            try:
                return function(*args, **kwargs)
            finally:
                stack.pop()

        return traced

    with wrapped(model, names_of(model), wrap):
        step()
    return called


_HALVES = (torch.float16, torch.bfloat16)


def tensors(values: Any) -> list[torch.Tensor]:
    """The floating-point tensors in nested containers, in order."""
    leaves, _ = tree_flatten(values)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]


def narrowed(values: Any, pattern: tuple[bool, ...], dtype: torch.dtype) -> Any:
    """The same values, with those floating-point tensors cast to ``dtype`` that the pattern marks."""
    leaves, structure = tree_flatten(values)
    marks = iter(pattern)
    cast = [
        leaf.to(dtype) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and next(marks, False) else leaf
        for leaf in leaves
    ]
    return tree_unflatten(cast, structure)


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype in _HALVES else value


def _place(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, method = name.partition(":")
    return model.get_submodule(path), method or "forward"


def _put_back(owner: nn.Module, method: str, before: object) -> None:
    if before is _MISSING:
        delattr(owner, method)
    else:
        setattr(owner, method, before)
