"""NVIDIA GPUs. TF32 is to them what HF32 is to Ascend: FP32 in name, and on unless switched off."""

from typing import Any

from workspace.devices.interface import Device, FP32Mode
from workspace.errors import UserError
from workspace.precision import Precision


class Cuda(Device):
    kind = "cuda"

    def check(self) -> None:
        import torch

        if torch.version.cuda is None:
            raise UserError(f"device cuda: torch {torch.__version__} is built without CUDA; install a CUDA build of it")
        if not self.count():
            raise UserError("device cuda: torch sees no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES")

    def count(self) -> int:
        import torch

        return torch.cuda.device_count()

    def torch_name(self, index: int) -> str:
        return f"cuda:{index}"

    def select(self, torch_name: str) -> None:
        import torch

        torch.cuda.set_device(torch_name)

    def synchronize(self) -> None:
        import torch

        torch.cuda.synchronize()

    def peak_memory(self) -> int:
        import torch

        return torch.cuda.max_memory_allocated()

    def require(self, precision: Precision) -> None:
        if precision.name == "hf32":
            raise UserError("device cuda: HF32 is Ascend's; use an NPU (A2 or newer), or the CPU's model")
        if precision.overflow == "saturate":
            raise UserError("device cuda: its FP16 cannot saturate; use an NPU (910A, A2 or A3), or the CPU's model")

    def use_strict_fp32(self) -> None:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def fp32_mode(self) -> FP32Mode:
        import torch

        reduced = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
        return "tf32" if reduced else "fp32"

    def facts(self) -> dict[str, Any]:
        import torch

        return {
            "kind": self.kind,
            "name": torch.cuda.get_device_name(),
            "fp32": self.fp32_mode(),
            "overflow": "inf_nan",
            "cuda": torch.version.cuda,
        }
