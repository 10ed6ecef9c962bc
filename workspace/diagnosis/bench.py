"""One training step, computed again and again from the same weights on the same pictures, in one way or another."""

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from workspace import devices
from workspace.diagnosis.members import Member, alone_in_half, islands
from workspace.precision import Precision
from workspace.precision.arithmetic import Arithmetic
from workspace.training.run import build_runner
from workspace.training.task import Task

HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one step gave.

    Attributes:
        loss: as it was before scaling.
        gradients: of the parameters, by name, FP32, divided by the loss scale, before clipping.
        update: what was added to the parameters, zeros where the step was skipped; and BatchNorm's statistics after it.
        skipped: whether the gradient scaler skipped it.
        metrics: of the optimizer wrapper: clamped elements and so on.
    """

    loss: float
    gradients: Tensors
    update: Tensors
    skipped: bool
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a step is computed.

    Attributes:
        precision: of the whole step.
        islands: members in FP32 beside the precision's own.
        alone: members in half, everything else in FP32; none for a step as usual.
        loss_scale: instead of the scaler's own.
        optimizer: name of another class for the update; ``None`` for the recipe's own.
        dither: relative size of random changes of the weights.
    """

    precision: Precision
    islands: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    loss_scale: float | None = None
    optimizer: str | None = None
    dither: float = 0.0


class Bench:
    """Model, pictures, weights and optimizer of a run, of which nothing is trained for good.

    Args:
        task: the run that is diagnosed; its folder takes MMEngine's scraps and nothing else.
        batches: pictures batches that are kept for the steps, the first ones of the run's own order.

    Attributes:
        weights: the parameters and buffers that each step begins with.
        states: the optimizer's state that each step begins with, by optimizer; see `Way.optimizer`.
        members: that a step in the run's precision calls.
        passes: steps computed so far.
    """

    def __init__(self, task: Task, *, batches: int) -> None:
        self.task = task
        self.spec = task.spec
        self.kind = task.spec.device
        device, precision = devices.device(self.kind), self.spec.precision
        torch.set_num_threads(task.threads)
        device.prepare(precision)
        device.check()
        device.select(task.devices[0])
        device.require(precision)
        device.use_strict_fp32()
        device.keep_freed_memory()  # at full size a quarter of the time would go into pages
        self.runner = build_runner(task)
        self.runner.logger.setLevel("ERROR")  # it tells of every parameter of every optimizer that is made
        self.model: nn.Module = self.runner.plain_model
        loader = self.runner.build_dataloader(self.runner.cfg.train_dataloader, seed=self.spec.seed)
        endless = itertools.chain.from_iterable(itertools.repeat(loader))
        self._batches: list[Any] = list(itertools.islice(endless, batches))
        self.weights: Tensors = {}
        self.states: dict[str | None, dict[str, Any]] = {}
        self.members: dict[str, Member] = {}
        self.passes = 0

    @property
    def batches(self) -> int:
        return len(self._batches)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    @property
    def _statistics(self) -> dict[str, torch.Tensor]:
        stored = ((name, value) for name, value in self.model.named_buffers() if name in self.weights)
        return {name: value for name, value in stored if value.is_floating_point()}

    def keep(self) -> None:
        """What the weights are now, each step begins with."""
        self.weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def optim_wrapper(self, precision: Precision, optimizer: str | None = None) -> Any:
        """A new wrapper around the model's parameters: an optimizer of a user's may keep things where none can see."""
        described = copy.deepcopy(self.runner.cfg.optim_wrapper)
        described.precision = dataclasses.asdict(precision)
        if optimizer is not None:
            described.optimizer.type = optimizer
            if optimizer == "SGD":
                described.optimizer.momentum = self.spec.recipe.momentum
        return self.runner.build_optim_wrapper(described)

    def forward(self, batch: int, wrapper: Any) -> torch.Tensor:
        """The loss of that batch at the model's weights of the moment."""
        torch.manual_seed(self.spec.seed)
        model: Any = self.model
        with wrapper.optim_context(model):
            data = model.data_preprocessor(copy.deepcopy(self._batches[batch]), True)
            losses = model(**data, mode="loss")
        loss: torch.Tensor = model.parse_losses(losses)[0]
        return loss

    def step(
        self,
        batch: int,
        way: Way,
        *,
        within: Callable[[Arithmetic], AbstractContextManager[object]] | None = None,
        update: bool = True,
    ) -> Step:
        """Computes the step of that batch from `weights`, which are the model's again afterwards.

        Args:
            within: given the arithmetic, the context of the forward pass.
            update: whether the optimizer is to act; its parameters' updates are empty otherwise.
        """
        self.passes += 1
        self.restore()
        if way.dither:
            generator = torch.Generator().manual_seed(0)
            for p in self.parameters.values():
                p.data.mul_(1 + way.dither * torch.randn(p.shape, generator=generator).to(p.device))
        wrapper = self._wrapper(way)
        scaler = wrapper.arithmetic.scaler
        with self._computed(way), nullcontext() if within is None else within(wrapper.arithmetic):
            loss = self.forward(batch, wrapper)
        wrapper.backward(loss)
        scale = 1.0 if scaler is None else float(scaler.get_scale())
        gradients = {name: p.grad.detach().float() / scale for name, p in self.parameters.items() if p.grad is not None}
        changed: Tensors = {}
        if update:
            wrapper.step()
            changed = {name: p.detach() - self.weights[name] for name, p in self.parameters.items()}
            changed |= {name: value.clone() for name, value in self._statistics.items()}
        found = Step(
            loss=float(loss.detach()),
            gradients=gradients,
            update=changed,
            skipped=wrapper.skipped_steps > 0,
            metrics={**wrapper.step_metrics, "loss_scale": scale},
        )
        wrapper.zero_grad()
        self.restore()
        return found

    def advance(self, batch: int, wrapper: Any) -> None:
        """Trains the model one step for good, until `restore`."""
        self.passes += 1
        loss = self.forward(batch, wrapper)
        wrapper.backward(loss)
        wrapper.step()
        wrapper.zero_grad()

    def restore(self) -> None:
        self.model.load_state_dict(self.weights)
        self.model.zero_grad()

    def _wrapper(self, way: Way) -> Any:
        wrapper = self.optim_wrapper(way.precision, way.optimizer)
        state = self.states.get(way.optimizer)
        if state is not None:
            wrapper.optimizer.load_state_dict(copy.deepcopy(state))
        scaler = wrapper.arithmetic.scaler
        if scaler is not None and way.loss_scale is not None:
            scaler.load_state_dict({**scaler.state_dict(), "scale": way.loss_scale})
        return wrapper

    @contextmanager
    def _computed(self, way: Way) -> Iterator[None]:
        with ExitStack() as stack:
            if way.alone:
                members = [self.members[name] for name in way.alone]
                stack.enter_context(alone_in_half(self.model, members, self.kind, HALF[way.precision.name]))
            stack.enter_context(islands(self.model, way.islands, self.kind))
            yield
