"""NVIDIA GPUs. TF32 is to them what HF32 is to Ascend: FP32 in name, and on unless switched off."""

from typing import Any

from workspace.devices.interface import Device
from workspace.errors import UserError


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

    def select(self, torch_name: str) -> None:
        import torch

        torch.cuda.set_device(torch_name)

    def use_strict_fp32(self) -> None:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def facts(self) -> dict[str, Any]:
        import torch

        return {
            "kind": self.kind,
            "name": torch.cuda.get_device_name(),
            "reduced_fp32": torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32,
            "cuda": torch.version.cuda,
        }

    def torch_name(self, index: int) -> str:
        return f"cuda:{index}"
