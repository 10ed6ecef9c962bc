"""Ascend NPUs through torch_npu, which of this project's modules is imported here alone, and here first.

Sources: ``npu_config.py`` (``torch.npu.conv.allow_hf32`` is True unless set, ``torch.npu.matmul.allow_hf32`` False),
``amp/grad_scaler.py`` and ``utils.py`` in ``torch_npu/npu`` of torch_npu 2.13 (github.com/Ascend/pytorch).
What a series of processors can do stands in :mod:`workspace.devices.families`.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from workspace.devices import npu_smi
from workspace.devices.failures import known_cure
from workspace.devices.families import Family, family
from workspace.devices.interface import Device, FP32Mode, Monitor
from workspace.devices.visible import VARIABLE, check_visible, device_nodes, visible_devices
from workspace.errors import UserError
from workspace.precision import LossScale, Precision
from workspace.precision.policy import Overflow

if TYPE_CHECKING:
    from torch.amp import GradScaler


_complaints: list[str] = []
"""Why torch_npu did not load in this process."""


class Npu(Device):
    kind = "npu"

    def check(self) -> None:
        npu = self._torch_npu().npu
        if not self.count():
            if nodes := device_nodes():
                visible_devices(os.environ.get(VARIABLE), len(nodes))  # says why, where the variable hides them
            raise UserError("device npu: torch_npu sees no NPU; check npu-smi info and ASCEND_RT_VISIBLE_DEVICES")
        try:
            found = self.family
        except RuntimeError as error:
            raise UserError(f"device npu: the driver does not come up ({_first_line(error)})") from None
        if not found.trains:
            raise UserError(
                f"device npu: {npu.get_device_name()} is of the {found.name}, which is for inference: train on an "
                "Atlas training server (910A, A2, A3) or an Ascend 950"
            )

    def count(self) -> int:
        return int(self._torch_npu().npu.device_count())

    def torch_name(self, index: int) -> str:
        return f"npu:{index}"

    def select(self, torch_name: str) -> None:
        check_visible(torch_name, self.count())
        npu = self._torch_npu().npu
        try:
            npu.set_device(torch_name)
        except RuntimeError as error:
            raise UserError(f"device {torch_name}: it cannot be used ({_first_line(error)})") from None
        # MMEngine takes any NPUJITCompile in the environment for a wish to compile operators as they come.
        npu.set_compile_mode(jit_compile=False)

    def synchronize(self) -> None:
        self._torch_npu().npu.synchronize()

    def peak_memory(self) -> int:
        return int(self._torch_npu().npu.max_memory_allocated())

    @property
    def family(self) -> Family:
        """What the processors of this machine can compute; the driver comes up to tell."""
        return family(self._torch_npu().npu.get_soc_version())

    @property
    def overflow(self) -> Overflow:
        return self.family.overflow[0]

    def require(self, precision: Precision) -> None:
        npu, found = self._torch_npu().npu, self.family
        chip = f"device npu: {npu.get_device_name()} (SoC {npu.get_soc_version()}, {found.name})"
        if precision.name == "fp32" and not found.fp32:
            raise UserError(
                f"{chip} has no FP32 matrix unit and would run FP16 in its place: for FP32 use an Ascend 910B1 or "
                "newer, or a GPU or CPU"
            )
        if precision.name == "hf32" and not found.hf32:
            raise UserError(f"{chip} has no HF32: use an Ascend 910B1 or newer, or the CPU's model")
        if precision.name == "bf16" and not found.bf16:
            raise UserError(f"{chip} has no BF16: use fp16, or an Ascend 910B1 or newer")
        if precision.fp32_islands and not found.fp32:
            raise UserError(
                f"{chip} would convolve in FP16 inside FP32 islands too ({', '.join(precision.fp32_islands)}): leave "
                "them out, or use an Ascend 910B1 or newer"
            )
        if precision.name == "fp16" and precision.overflow not in found.overflow:
            raise UserError(
                f"{chip} knows overflow {' or '.join(found.overflow)} only: say so in the precision "
                f"(overflow={found.overflow[0]}), or use another processor"
            )

    def prepare(self, precision: Precision) -> None:
        """Chooses the overflow mode, which torch_npu reads from the environment before the device is first used.

        Without the second variable an A2 or A3 refuses to saturate; a 910A and a 950 heed neither. torch_npu is loaded
        here, before MMEngine does it: that would swallow the reason where it does not load.
        """
        saturate = precision.overflow == "saturate"
        os.environ["INF_NAN_MODE_ENABLE"] = "0" if saturate else "1"
        os.environ["INF_NAN_MODE_FORCE_DISABLE"] = "1" if saturate else "0"
        with suppress(UserError):  # `check` tells it
            self._torch_npu()

    def use_strict_fp32(self) -> None:
        npu = self._torch_npu().npu
        npu.conv.allow_hf32 = False
        npu.matmul.allow_hf32 = False

    def fp32_mode(self) -> FP32Mode:
        npu, found = self._torch_npu().npu, self.family
        if not found.fp32:
            return "fp16"
        return "hf32" if found.hf32 and (npu.conv.allow_hf32 or npu.matmul.allow_hf32) else "fp32"

    @contextmanager
    def hf32(self) -> Iterator[None]:
        convolutions = self._torch_npu().npu.conv
        before = convolutions.allow_hf32
        convolutions.allow_hf32 = True
        try:
            yield
        finally:
            convolutions.allow_hf32 = before

    def grad_scaler(self, loss_scale: LossScale) -> "GradScaler":
        """torch_npu's: torch's own does not know the overflow flag. It takes no device."""
        scaler: GradScaler = self._torch_npu().npu.amp.GradScaler(
            init_scale=loss_scale.init, growth_interval=loss_scale.growth_interval
        )
        if not scaler.is_enabled():
            raise UserError("device npu: torch_npu switched its gradient scaler off, as it sees no NPU")
        return scaler

    def overflow_flag(self) -> bool | None:
        """The status register of the hardware in saturation mode; torch_npu's scaler clears it in ``scale`` too."""
        utils = self._torch_npu().npu.utils
        return None if utils.is_support_inf_nan() else bool(utils.get_npu_overflow_flag())

    def clear_overflow_flag(self) -> None:
        utils = self._torch_npu().npu.utils
        if not utils.is_support_inf_nan():
            utils.clear_npu_overflow_flag()

    def monitor(self, torch_names: Sequence[str]) -> Monitor:
        """npu-smi's readings and, of a process that uses the devices, the most memory that its tensors have held."""
        indices = [int(name.removeprefix("npu:")) for name in torch_names]
        chips = npu_smi.Monitor(indices)
        return lambda: {**chips(), **self._peaks(indices)}

    def _peaks(self, indices: Sequence[int]) -> dict[str, float]:
        if "torch_npu" not in sys.modules:
            return {}
        try:
            npu = self._torch_npu().npu
            if not npu.is_initialized():
                return {}
            # Of a device by its number, for this thread's own is another one.
            peaks = [npu.max_memory_allocated(index) for index in indices]
        except (UserError, RuntimeError):  # for the training to find
            return {}
        return {f"npu_{place}_memory_peak_megabytes": peak / 1e6 for place, peak in enumerate(peaks)}

    def facts(self) -> dict[str, Any]:
        torch_npu = self._torch_npu()
        npu = torch_npu.npu
        return {
            "kind": self.kind,
            "name": npu.get_device_name(),
            "soc": npu.get_soc_version(),
            "family": self.family.name,
            "fp32": self.fp32_mode(),
            "overflow": "inf_nan" if npu.utils.is_support_inf_nan() else "saturate",
            "torch_npu": torch_npu.__version__,
            "jit_compile": not npu.is_jit_compile_false(),
            "hccl_deterministic": os.environ.get("HCCL_DETERMINISTIC"),
            "cann": npu.utils.get_cann_version(),
        }

    @staticmethod
    def _torch_npu() -> ModuleType:
        if importlib.util.find_spec("torch_npu") is None:
            raise UserError(
                "device npu: torch_npu is not installed; run `pip install -e .[npu]` on a machine with CANN"
            )
        if _complaints:  # a second attempt would stumble over what the first one left
            raise UserError(_complaints[0])
        try:
            return importlib.import_module("torch_npu")
        except Exception as error:  # torch_npu raises that very class for an environment that it does not like
            _complaints.append(f"device npu: torch_npu does not load ({_first_line(error)}); {_cure(error)}")
            raise UserError(_complaints[0]) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _cure(error: Exception) -> str:
    """What to do about an installation that does not load."""
    home = os.environ.get("ASCEND_HOME_PATH")
    if home is not None and not Path(home).is_dir():
        return f"ASCEND_HOME_PATH is {home}, and no such folder is there: `source set_env.sh` of the installed toolkit"
    if known := known_cure(str(error)):
        return known
    if home is None:
        return "install CANN and `source set_env.sh` of its toolkit"
    return f"the CANN in {home} does not fit: see the table of versions in docs/npu.md, and `source set_env.sh` anew"
