"""What the arithmetic of a run really was, observed, and whether that agrees with what it was called.

"FP32" is not one thing: an Ascend 910A runs it as FP16, an A2/A3 convolves in HF32 and a GPU in TF32 unless told
otherwise, and MMEngine exchanges the optimizer wrapper on an NPU. So an arm's name is not believed: the types that
convolutions and linear layers produced in the first step are recorded, beside the switches and the classes in charge.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from workspace.devices.interface import FP32Mode
from workspace.precision.policy import Precision

Audit = dict[str, Any]

_COMPUTE_DTYPE = {"fp32": "float32", "hf32": "float32", "fp16": "float16", "bf16": "bfloat16"}


class ArithmeticRecorder:
    """Watches one step of a model through forward hooks, which see tensors and change none.

    Args:
        islands: members of FP32 islands, as in `make_islands`; layers under them are counted apart.
        fp32_mode: tells what FP32 is computed in at the moment; see `Arithmetic.fp32_mode`.
    """

    def __init__(self, model: nn.Module, islands: Iterable[str], fp32_mode: Callable[[], str]) -> None:
        prefixes = tuple(member for member in islands if ":" not in member)
        self._outputs: Counter[str] = Counter()
        self._island_outputs: Counter[str] = Counter()
        self._parameters = Counter(_name(p.dtype) for p in model.parameters())
        self._autocast: set[str] = set()
        self._fp32_mode = fp32_mode
        self._fp32_modes: Counter[str] = Counter()
        self._handles = []
        for path, module in model.named_modules():
            if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
                inside = any(path == p or path.startswith(f"{p}.") for p in prefixes)
                self._handles.append(module.register_forward_hook(self._hook(inside)))

    def _hook(self, inside: bool) -> Any:
        counts = self._island_outputs if inside else self._outputs

        def record(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            counts[_name(output.dtype)] += 1
            if output.dtype == torch.float32:
                self._fp32_modes[self._fp32_mode()] += 1
            kind = output.device.type
            enabled = torch.is_autocast_enabled(kind)
            self._autocast.add(_name(torch.get_autocast_dtype(kind)) if enabled else "off")

        return record

    def stop(self) -> Audit:
        """Takes the hooks off and returns the counts of layer outputs by type."""
        for handle in self._handles:
            handle.remove()
        return {
            "layer_outputs": dict(self._outputs),
            "island_outputs": dict(self._island_outputs),
            "fp32_modes": dict(self._fp32_modes),
            "parameters": dict(self._parameters),
            "autocast": sorted(self._autocast),
        }


def measured_fp32(device: str) -> FP32Mode:
    """What a convolution of FP32 tensors computes in on that torch device, here and now: tried, not asked.

    Told by what is left of small differences: 2^-20 in FP32 alone, 2^-11 in HF32 (11 bits of mantissa) as well, 2^-10
    in TF32 and FP16 (10 bits), whose ranges differ.
    """
    values = torch.tensor([1 + 2.0**-20, 1 + 2.0**-11, 1 + 2.0**-10, 2.0**-30])
    channels = 16
    pictures = values.view(1, 1, 1, -1).expand(2, channels, 8, -1).to(device)
    kernel = torch.eye(channels).view(channels, channels, 1, 1).to(device)
    with torch.no_grad(), torch.autocast(pictures.device.type, enabled=False):
        left = F.conv2d(pictures, kernel)[0, 0, 0].cpu()
    fp32, hf32, ten_bits, small = (left == values).tolist()
    if fp32:
        return "fp32"
    if hf32:
        return "hf32"
    if not ten_bits:
        return "bf16"
    return "tf32" if small else "fp16"


def contradictions(audit: Audit, precision: Precision) -> list[str]:
    """Where an audit contradicts the precision that the run was meant to have; empty when it agrees.

    Args:
        audit: counts of `ArithmeticRecorder.stop`, with ``device`` (`Device.facts`), ``scaler`` and ``measured_fp32``
            (`measured_fp32` within the passes of ``training``, ``None`` where they are mixed, and for ``evaluation``)
            beside them.
    """
    found = []
    expected = _COMPUTE_DTYPE[precision.name]
    outputs, inside = audit["layer_outputs"], audit["island_outputs"]
    if not outputs and not inside:
        found.append("no convolution or linear layer ran")
    wrong = {dtype: count for dtype, count in outputs.items() if dtype != expected}
    if wrong:
        found.append(f"layers should produce {expected} and produced {_counted(wrong)}")
    narrow = {dtype: count for dtype, count in inside.items() if dtype != "float32"}
    if narrow:
        found.append(f"layers of FP32 islands produced {_counted(narrow)}")
    masters = {dtype: count for dtype, count in audit["parameters"].items() if dtype != "float32"}
    if masters:
        found.append(f"parameters should be float32 masters and are {_counted(masters)}")
    if not precision.is_mixed and audit["autocast"] not in ([], ["off"]):
        found.append(f"autocast was on: {', '.join(audit['autocast'])}")
    device = audit["device"]
    mode = "hf32" if precision.name == "hf32" else "fp32"
    reduced = {name: count for name, count in audit["fp32_modes"].items() if name != mode}
    if reduced:
        found.append(f"layers of {mode.upper()} were computed in {_counted(reduced)}")
    tried = audit["measured_fp32"]
    if tried["training"] not in (None, mode):
        found.append(f"a convolution of {mode.upper()} was tried and came out in {tried['training']}")
    # Between the steps the switches stand as they do for the evaluation, which is in FP32 wherever there is FP32.
    for told in dict.fromkeys((device["fp32"], tried["evaluation"])):
        if told != "fp32" and not told == device["fp32"] == "fp16":
            found.append(f"outside of the training step the device computes FP32 in {told}")
    overflow = device.get("overflow", precision.overflow)  # on the CPU the mode is ours to model
    if precision.name == "fp16" and overflow != precision.overflow:
        found.append(f"the hardware's overflow mode is {overflow}, not {precision.overflow}")
    if (precision.loss_scale is not None) != (audit["scaler"] is not None):
        found.append(f"gradient scaler: {audit['scaler'] or 'none'}")
    return found


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{dtype} ({count})" for dtype, count in sorted(counts.items()))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
