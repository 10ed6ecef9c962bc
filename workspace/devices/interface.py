"""What a run needs to know of the device that it trains on."""

from abc import ABC, abstractmethod
from typing import Any

from workspace.spec import DeviceKind


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
    def use_strict_fp32(self) -> None:
        """Switches off every mode that computes FP32 with fewer mantissa bits (TF32, HF32), in this process."""

    @property
    def has_strict_fp32(self) -> bool:
        """Whether the hardware can compute convolutions in FP32 at all."""
        return True

    @abstractmethod
    def select(self, torch_name: str) -> None:
        """Makes that device this process's current one."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """For the audit: the hardware's name and the state of its precision switches, as they are now."""

    @abstractmethod
    def torch_name(self, index: int) -> str:
        """torch's name of the device at that index."""
