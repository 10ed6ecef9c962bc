"""Ascend NPUs through torch_npu, which is imported here and nowhere else.

Sources: ``torch_npu`` (Ascend/pytorch): ``torch.npu.conv.allow_hf32`` is True by default on A2/A3, and
``LazyInitAclops.cpp`` allows FP32 to run as FP16 on the 910A family, whose Cube unit has no FP32.
"""

import importlib
import importlib.util
import os
from types import ModuleType
from typing import Any

from workspace.devices.interface import Device
from workspace.errors import UserError

_FIRST_SOC_WITH_FP32_CUBE = 220  # Ascend910B1; "Ascend910B" without a digit is 104, of the 910A family


class Npu(Device):
    kind = "npu"

    def check(self) -> None:
        self._torch_npu()
        if not self.count():
            raise UserError("device npu: torch_npu sees no NPU; check npu-smi info and ASCEND_RT_VISIBLE_DEVICES")

    def count(self) -> int:
        return int(self._torch_npu().npu.device_count())

    def select(self, torch_name: str) -> None:
        self._torch_npu().npu.set_device(torch_name)

    @property
    def has_strict_fp32(self) -> bool:
        return bool(self._torch_npu().npu.get_soc_version() >= _FIRST_SOC_WITH_FP32_CUBE)

    def use_strict_fp32(self) -> None:
        torch_npu = self._torch_npu()
        soc = torch_npu.npu.get_soc_version()
        if not self.has_strict_fp32:
            raise UserError(
                f"device npu: {torch_npu.npu.get_device_name()} (SoC {soc}) has no FP32 matrix unit and would run FP16 "
                "in its place: train the FP32 arm on an Ascend 910B1 or newer, or on a GPU or CPU"
            )
        torch_npu.npu.conv.allow_hf32 = False
        torch_npu.npu.matmul.allow_hf32 = False

    def facts(self) -> dict[str, Any]:
        npu = self._torch_npu().npu
        return {
            "kind": self.kind,
            "name": npu.get_device_name(),
            "soc": npu.get_soc_version(),
            "reduced_fp32": self.has_strict_fp32 and bool(npu.conv.allow_hf32 or npu.matmul.allow_hf32),
            # The 910A family saturates, whatever the variable says.
            "inf_nan_mode": self.has_strict_fp32 and os.environ.get("INF_NAN_MODE_ENABLE", "1") == "1",
        }

    def torch_name(self, index: int) -> str:
        return f"npu:{index}"

    @staticmethod
    def _torch_npu() -> ModuleType:
        if importlib.util.find_spec("torch_npu") is None:
            raise UserError(
                "device npu: torch_npu is not installed; run `pip install -e .[npu]` on a machine with CANN"
            )
        # Without this, `import torch` itself fails where CANN is missing, and hides the reason.
        os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
        try:
            return importlib.import_module("torch_npu")
        except (ImportError, RuntimeError, OSError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"device npu: torch_npu does not load ({reason}); install CANN and `source set_env.sh` of its toolkit"
            ) from None
