"""The CPU: strict FP32, and FP16 as a model of the NPU's (`workspace.precision.half`)."""

import ctypes
import os
import platform
import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

from workspace.devices.interface import Device, FP32Mode
from workspace.precision import Precision

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h

_MODES: dict[str, FP32Mode] = {"highest": "fp32", "high": "tf32", "medium": "bf16"}


class Cpu(Device):
    kind = "cpu"

    def check(self) -> None:
        """A CPU is always there."""

    def count(self) -> int:
        return len(os.sched_getaffinity(0))

    def torch_name(self, index: int) -> str:
        return "cpu"

    def select(self, torch_name: str) -> None:
        """There is but one."""

    def synchronize(self) -> None:
        """It never lags behind."""

    def peak_memory(self) -> int:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def require(self, precision: Precision) -> None:
        """It models every precision."""

    def keep_freed_memory(self) -> None:
        """Without it glibc maps each tensor above 32 MiB anew, and the kernel clears every page of it again.

        Other C libraries are left as they are.
        """
        with suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_MAX, 0)
            mallopt(_M_TRIM_THRESHOLD, -1)  # never

    def use_strict_fp32(self) -> None:
        import torch

        # oneDNN may compute FP32 in bf16 or TF32 on processors with matrix units when asked to: keep it from that.
        torch.set_float32_matmul_precision("highest")

    def fp32_mode(self) -> FP32Mode:
        import torch

        return _MODES[torch.get_float32_matmul_precision()]

    def facts(self) -> dict[str, Any]:
        import torch

        return {
            "kind": self.kind,
            "name": _model_name() or platform.machine(),
            "fp32": self.fp32_mode(),
            "threads": torch.get_num_threads(),
        }


def _model_name() -> str | None:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return None
    lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == "model name"), None)
