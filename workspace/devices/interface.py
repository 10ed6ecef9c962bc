"""What a run needs to know of the device that it trains on."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal

from workspace.precision import LossScale, Precision
from workspace.precision.policy import Overflow
from workspace.spec import DeviceKind

if TYPE_CHECKING:
    from torch.amp import GradScaler

FP32Mode = Literal["fp32", "hf32", "tf32", "bf16", "fp16"]
"""What convolutions and matrix products of FP32 tensors really compute in."""

Monitor = Callable[[], Mapping[str, float]]
"""Reads how busy some devices are now, under MLflow's names of system metrics; what cannot be read is left out."""


class Device(ABC):
    """One kind of device. Importing an implementation loads no driver; calling it may."""

    kind: DeviceKind

    @abstractmethod
    def check(self) -> None:
        """Raises `UserError` with the cure when this device cannot be used."""

    @abstractmethod
    def count(self) -> int:
        """How many of them this process may use."""

    @abstractmethod
    def torch_name(self, index: int) -> str:
        """torch's name of the device at that index."""

    @abstractmethod
    def select(self, torch_name: str) -> None:
        """Makes that device this process's current one."""

    @abstractmethod
    def synchronize(self) -> None:
        """Waits until the current device has done what it was given."""

    @abstractmethod
    def peak_memory(self) -> int:
        """Bytes that this process has held at most: tensors' on an accelerator, all of its memory on a CPU."""

    @abstractmethod
    def require(self, precision: Precision) -> None:
        """Raises `UserError` when the hardware, or its model here, cannot compute that precision."""

    @property
    def overflow(self) -> Overflow:
        """What FP16 does on overflow here unless it is told otherwise."""
        return "inf_nan"

    def prepare(self, precision: Precision) -> None:  # noqa: B027  most drivers need to know nothing
        """Tells the driver, before it comes up in this process, what it must know of the precision."""

    def keep_freed_memory(self) -> None:  # noqa: B027  the caching allocators of accelerators do
        """Has this process keep what tensors leave, for the next ones, until it ends."""

    @abstractmethod
    def use_strict_fp32(self) -> None:
        """Switches off every mode that computes FP32 with fewer mantissa bits (TF32, HF32), in this process.

        Hardware without FP32 has nothing to switch: see `fp32_mode`.
        """

    @abstractmethod
    def fp32_mode(self) -> FP32Mode:
        """What FP32 is computed in, as the switches stand now."""

    def hf32(self) -> AbstractContextManager[object]:
        """Inside, FP32 convolutions are computed in HF32; afterwards the switch is as it was before."""
        raise NotImplementedError(f"{self.kind} has no HF32")

    def grad_scaler(self, loss_scale: LossScale) -> "GradScaler":
        """The gradient scaler of this device, starting at that scale."""
        import torch

        return torch.amp.GradScaler(self.kind, init_scale=loss_scale.init, growth_interval=loss_scale.growth_interval)

    def overflow_flag(self) -> bool | None:
        """Whether anything overflowed since the flag was last cleared; ``None`` where there is no flag."""
        return None

    def clear_overflow_flag(self) -> None:  # noqa: B027  most devices have none
        """Takes that flag back, where there is one."""

    def monitor(self, torch_names: Sequence[str]) -> Monitor | None:
        """Reads these devices, from any thread, and in a process that does not use them too; ``None``: nothing can."""
        return None

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """For the audit: the hardware's name and the state of its precision switches, as they are now.

        ``kind``, ``name``, ``fp32`` (see `fp32_mode`) and ``overflow`` (what FP16 does, where that is the hardware's to
        say) are common to all.
        """
