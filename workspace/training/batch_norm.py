"""BatchNorm over a batch that several processes share."""

from typing import Any

import torch
import torch.distributed as dist
from torch import nn


class GlobalBatchNorm(nn.BatchNorm2d):
    """`BatchNorm2d` whose statistics are those of the whole batch, also where processes hold unequal parts of it.

    ``torch.nn.SyncBatchNorm`` is the same for accelerators and refuses a CPU's tensors. Statistics are FP32 and the
    output has the input's type, as in torch's own BatchNorm of FP16 tensors. Weights and buffers bear the same names.
    """

    @classmethod
    def of(cls, module: nn.BatchNorm2d) -> "GlobalBatchNorm":
        """The module in its place, with its very parameters and buffers."""
        shared = cls(module.num_features, module.eps, module.momentum)
        shared.weight, shared.bias = module.weight, module.bias
        for name, buffer in module.named_buffers():
            setattr(shared, name, buffer)
        return shared.train(module.training)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalises an input (N, C, H, W) by channel."""
        if not self.training:
            return super().forward(input)
        wide = input.float()
        variance, mean = torch.var_mean(wide, (0, 2, 3), correction=0)
        mean, variance, count = _of_all(mean, variance, wide.numel() // wide.size(1))
        self._track(mean, variance * count / (count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        centred = wide - mean.view(-1, 1, 1)
        return (centred * scale.view(-1, 1, 1) + self.bias.view(-1, 1, 1)).to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked += 1


def share_batch_norms(model: nn.Module) -> None:
    """Puts a `GlobalBatchNorm` in the place of every ``BatchNorm2d`` of the model."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, GlobalBatchNorm.of(child))


def _of_all(mean: torch.Tensor, variance: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean, variance and count of what all processes hold together, from each one's own.

    Combined as by Chan, Golub and LeVeque (1979), not from sums of squares, which cancel. One sum of rows that are
    zero for the other processes gathers them: gloo has no gradient for its gather.
    """
    rows = mean.new_zeros(dist.get_world_size(), 3, mean.numel())
    rows[dist.get_rank()] = torch.stack([mean, variance, torch.full_like(mean, count)])
    gathered: torch.Tensor = _SumOverProcesses.apply(rows)  # type: ignore[no-untyped-call]
    means, variances, counts = gathered.unbind(1)
    total = counts.sum(0)
    share = counts / total
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean).square())).sum(0), total


class _SumOverProcesses(torch.autograd.Function):
    """The sum of every process's tensor; its gradient is the sum of every process's gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        return _summed(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return _summed(gradients[0])


def _summed(tensor: torch.Tensor) -> torch.Tensor:
    total = tensor.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
