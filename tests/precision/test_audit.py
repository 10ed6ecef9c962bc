"""The audit: what a step's layers really computed in, and where that contradicts the precision asked for."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from workspace.precision import FP32, LossScale, Precision
from workspace.precision import audit as audit_module
from workspace.precision.arithmetic import arithmetic
from workspace.precision.audit import ArithmeticRecorder, Audit, contradictions, measured_fp32
from workspace.precision.islands import make_islands

FP16 = Precision(name="fp16", loss_scale=LossScale())
BF16 = Precision(name="bf16")
HF32 = Precision(name="hf32")
SCALER = "torch.amp.grad_scaler.GradScaler"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.neck = nn.Conv1d(4, 4, 1)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(4, 2))
        self.headroom = nn.Linear(2, 2)

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.neck(self.stem(pictures).flatten(2))
        scores: Tensor = self.headroom(self.head(features.mean(2)))
        return scores


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def pictures() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def observe(net: nn.Module, pictures: Tensor, precision: Precision, islands: tuple[str, ...] = ()) -> Audit:
    """The audit of one forward pass, with what `workspace.training.run.AuditHook` puts beside the counts."""
    performed = arithmetic(precision, "cpu")
    recorder = ArithmeticRecorder(net, islands, performed.fp32_mode)
    with performed.forward():
        net(pictures)
    return {
        **recorder.stop(),
        "device": {"kind": "cpu", "fp32": "fp32"},
        "measured_fp32": {
            "training": None if precision.is_mixed else precision.name,
            "evaluation": measured_fp32("cpu"),
        },
        "scaler": None if performed.scaler is None else SCALER,
    }


@pytest.mark.parametrize(
    ("precision", "outputs", "autocast"),
    [
        (FP32, "float32", ["off"]),
        (HF32, "float32", ["off"]),
        (FP16, "float16", ["float16"]),
        (BF16, "bfloat16", ["bfloat16"]),
    ],
    ids=["fp32", "hf32", "fp16", "bf16"],
)
def test_layers_are_counted_by_what_they_produced(
    precision: Precision, outputs: str, autocast: list[str], net: Net, pictures: Tensor
) -> None:
    audit = observe(net, pictures, precision)
    assert audit["layer_outputs"] == {outputs: 4}
    assert audit["island_outputs"] == {}
    assert audit["fp32_modes"] == ({} if precision.is_mixed else {precision.name: 4})
    assert audit["parameters"] == {"float32": 8}
    assert audit["autocast"] == autocast
    assert contradictions(audit, precision) == []


def test_islands_are_counted_apart(net: Net, pictures: Tensor) -> None:
    """``headroom`` begins like ``head`` and is no part of it."""
    make_islands(net, ("head",), "cpu")
    audit = observe(net, pictures, FP16, islands=("head", "head:forward"))
    assert audit["layer_outputs"] == {"float16": 3}
    assert audit["island_outputs"] == {"float32": 1}
    assert audit["autocast"] == ["float16", "off"]
    assert contradictions(audit, FP16) == []


def test_an_island_that_was_not_made_is_found(net: Net, pictures: Tensor) -> None:
    audit = observe(net, pictures, FP16, islands=("head",))
    assert contradictions(audit, FP16) == ["layers of FP32 islands produced float16 (1)"]


def test_watching_changes_nothing_and_leaves_nothing(net: Net, pictures: Tensor) -> None:
    with torch.autocast("cpu", torch.float16):
        unwatched = net(pictures)
        recorder = ArithmeticRecorder(net, (), lambda: "fp32")
        watched = net(pictures)
        counts = recorder.stop()
        net(pictures)
    assert torch.equal(watched, unwatched)
    assert not any(module._forward_hooks for module in net.modules())
    assert recorder.stop() == counts


def tried(training: str | None, evaluation: str) -> Audit:
    return {"measured_fp32": {"training": training, "evaluation": evaluation}}


def agreeing(precision: Precision) -> Audit:
    computed = {"fp32": "float32", "hf32": "float32", "fp16": "float16", "bf16": "bfloat16"}[precision.name]
    return {
        "layer_outputs": {computed: 4},
        "island_outputs": {"float32": 2} if precision.is_mixed else {},
        "fp32_modes": {"hf32": 4} if precision == HF32 else {"fp32": 2 if precision.is_mixed else 4},
        "parameters": {"float32": 8},
        "autocast": [computed] if precision.is_mixed else ["off"],
        "device": {"kind": "cpu", "fp32": "fp32"},
        "measured_fp32": {"training": None if precision.is_mixed else precision.name, "evaluation": "fp32"},
        "scaler": SCALER if precision.loss_scale else None,
    }


@pytest.mark.parametrize("precision", [FP32, HF32, FP16, BF16], ids=lambda precision: precision.name)
def test_agreement_is_an_empty_list(precision: Precision) -> None:
    assert contradictions(agreeing(precision), precision) == []


@pytest.mark.parametrize(
    ("precision", "observed", "said"),
    [
        (FP32, {"layer_outputs": {"float16": 1, "float32": 3}}, "should produce float32 and produced float16 (1)"),
        (FP16, {"layer_outputs": {"float32": 4}}, "should produce float16 and produced float32 (4)"),
        (BF16, {"layer_outputs": {"float16": 4}}, "should produce bfloat16 and produced float16 (4)"),
        (FP16, {"island_outputs": {"float32": 1, "float16": 1}}, "FP32 islands produced float16 (1)"),
        (FP16, {"parameters": {"float16": 3, "bfloat16": 5}}, "masters and are bfloat16 (5), float16 (3)"),
        (FP32, {"autocast": ["float16", "off"]}, "autocast was on: float16, off"),
        (FP32, {"fp32_modes": {"fp32": 3, "hf32": 1}}, "layers of FP32 were computed in hf32 (1)"),
        (FP32, {"fp32_modes": {"fp16": 4}}, "layers of FP32 were computed in fp16 (4)"),
        (HF32, {"fp32_modes": {"fp32": 4}}, "layers of HF32 were computed in fp32 (4)"),
        (FP16, {"fp32_modes": {"tf32": 2}}, "layers of FP32 were computed in tf32 (2)"),
        (FP32, {"device": {"kind": "cpu", "fp32": "tf32"}}, "outside of the training step the device computes FP32 in"),
        (FP32, tried("hf32", "fp32"), "a convolution of FP32 was tried and came out in hf32"),
        (HF32, tried("fp32", "fp32"), "a convolution of HF32 was tried and came out in fp32"),
        (FP32, tried("fp32", "hf32"), "outside of the training step the device computes FP32 in hf32"),
        (FP16, tried(None, "tf32"), "outside of the training step the device computes FP32 in tf32"),
        (FP16, {"scaler": None}, "gradient scaler: none"),
        (FP32, {"scaler": SCALER}, f"gradient scaler: {SCALER}"),
        (BF16, {"scaler": SCALER}, f"gradient scaler: {SCALER}"),
        (FP32, {"layer_outputs": {}, "island_outputs": {}, "autocast": []}, "no convolution or linear layer ran"),
    ],
)
def test_each_contradiction_is_one_line(precision: Precision, observed: dict[str, Any], said: str) -> None:
    (found,) = contradictions({**agreeing(precision), **observed}, precision)
    assert said in found


def test_hardware_without_fp32_is_no_contradiction_where_none_was_asked_for() -> None:
    """A 910A's evaluation has no other arithmetic to choose; an island on it has a layer that says so."""
    saturating = Precision(name="fp16", loss_scale=LossScale(), overflow="saturate")
    first = {"kind": "npu", "fp32": "fp16", "overflow": "saturate"}
    plain = {**agreeing(saturating), **tried(None, "fp16"), "island_outputs": {}, "fp32_modes": {}, "device": first}
    assert contradictions(plain, saturating) == []
    assert contradictions({**plain, "fp32_modes": {"fp16": 2}}, saturating) != []


def test_an_accelerator_s_overflow_mode_is_checked() -> None:
    saturating = Precision(name="fp16", loss_scale=LossScale(), overflow="saturate")
    ieee = {"kind": "npu", "fp32": "fp32", "overflow": "inf_nan"}
    clamping = {**ieee, "overflow": "saturate"}
    assert contradictions({**agreeing(FP16), "device": ieee}, FP16) == []
    assert contradictions({**agreeing(FP16), "device": clamping}, saturating) == []
    for device, precision in ((clamping, FP16), (ieee, saturating)):
        (found,) = contradictions({**agreeing(FP16), "device": device}, precision)
        assert "overflow mode" in found


def test_contradictions_add_up() -> None:
    audit = {**agreeing(FP32), "autocast": ["float16"], "layer_outputs": {"float16": 4}, "scaler": SCALER}
    assert len(contradictions(audit, FP32)) == 3


def test_what_fp32_comes_out_in_is_tried() -> None:
    """On the CPU's models; in FP16 what is tried is FP32, autocast or not."""
    assert measured_fp32("cpu") == "fp32"
    with arithmetic(HF32, "cpu").forward():
        assert measured_fp32("cpu") == "hf32"
    with arithmetic(FP16, "cpu").forward():
        assert measured_fp32("cpu") == "fp32"
    assert measured_fp32("cpu") == "fp32"


@pytest.mark.parametrize(
    ("mode", "narrow"),
    [
        ("tf32", lambda x: (x.view(torch.int32) & ~0x1FFF).view(torch.float32)),
        ("fp16", lambda x: x.half().float()),
        ("bf16", lambda x: x.bfloat16().float()),
    ],
)
def test_narrower_types_are_told_apart(
    mode: str, narrow: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module.F, "conv2d", lambda x, w: conv2d(narrow(x), narrow(w)))
    assert measured_fp32("cpu") == mode
