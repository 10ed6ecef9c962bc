"""The Cube's arithmetic on a CPU against FP64, against torch's own half kernels, and against a model by hand."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workspace.errors import UserError
from workspace.precision.extension import _alone_in, _ninja_on_path, load_extension
from workspace.precision.half import HalfArithmetic

Function = Callable[..., Tensor]

CASES: dict[str, tuple[Function, tuple[tuple[int, ...], ...]]] = {
    "conv": (lambda x, w: F.conv2d(x, w, padding=1), ((2, 8, 9, 9), (16, 8, 3, 3))),
    "conv, bias": (lambda x, w, b: F.conv2d(x, w, b, padding=1), ((2, 8, 9, 9), (16, 8, 3, 3), (16,))),
    "conv, pointwise": (F.conv2d, ((2, 64, 7, 5), (32, 64, 1, 1))),
    "conv, strided": (lambda x, w: F.conv2d(x, w, stride=2, padding=3), ((2, 3, 21, 17), (8, 3, 7, 7))),
    "conv, dilated": (lambda x, w: F.conv2d(x, w, padding=6, dilation=6), ((1, 8, 13, 13), (8, 8, 3, 3))),
    "conv, grouped": (lambda x, w, b: F.conv2d(x, w, b, groups=4), ((2, 8, 9, 9), (12, 2, 3, 3), (12,))),
    "conv, depthwise": (lambda x, w: F.conv2d(x, w, padding=1, groups=8), ((2, 8, 9, 9), (8, 1, 3, 3))),
    "conv, transposed": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, output_padding=1),
        ((2, 8, 5, 5), (8, 4, 3, 3), (4,)),
    ),
    "conv, 1d": (F.conv1d, ((2, 4, 20), (6, 4, 5))),
    "conv, 3d": (F.conv3d, ((1, 4, 5, 6, 7), (3, 4, 3, 3, 3))),
    "linear": (F.linear, ((5, 70), (30, 70))),
    "linear, bias": (F.linear, ((3, 5, 70), (30, 70), (30,))),
    "mm": (torch.mm, ((20, 300), (300, 10))),
    "mm, transposed": (lambda a, b: torch.mm(a.t(), b), ((300, 20), (300, 10))),
    "bmm": (torch.bmm, ((3, 7, 40), (3, 40, 6))),
    "addmm": (lambda c, a, b: torch.addmm(c, a, b, beta=0.5, alpha=2), ((7, 6), (7, 40), (40, 6))),
    "baddbmm": (lambda c, a, b: torch.baddbmm(c, a, b, beta=0.5, alpha=2), ((3, 7, 6), (3, 7, 40), (3, 40, 6))),
    "matmul, broadcast": (torch.matmul, ((2, 3, 7, 40), (40, 6))),
    "einsum": (lambda a, b: torch.einsum("bchw,bdhw->bcd", a, b), ((2, 3, 4, 5), (2, 6, 4, 5))),
    "mv": (torch.mv, ((20, 50), (50,))),
    "addmv": (lambda c, a, b: torch.addmv(c, a, b, beta=0.5, alpha=2), ((20,), (20, 50), (50,))),
    "dot": (torch.dot, ((80,), (80,))),
}
SUMMANDS = 400  # no result of the cases above sums more products


def operands(shapes: tuple[tuple[int, ...], ...], dtype: torch.dtype = torch.float16) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def out_gradient(result: Tensor) -> Tensor:
    return torch.randn(result.shape, generator=torch.Generator().manual_seed(1)).to(result.dtype)


def with_gradients(function: Function, inputs: list[Tensor], gradient: Tensor | None = None) -> list[Tensor]:
    """The result and the gradient of each input."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    result = function(*inputs)
    gradient = out_gradient(result) if gradient is None else gradient.to(result.dtype)
    return [result.detach(), *torch.autograd.grad(result, inputs, gradient)]


def ulp(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Distance between neighbouring numbers of the type around FP64 values."""
    digits = {torch.float16: 11, torch.bfloat16: 8}[dtype]
    _, exponent = torch.frexp(values)
    smallest = {torch.float16: -24, torch.bfloat16: -133}[dtype]
    return torch.ldexp(torch.ones_like(values), (exponent - digits).clamp(min=smallest))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@pytest.mark.parametrize("case", CASES)
def test_results_and_gradients_are_rounded_once(case: str, dtype: torch.dtype) -> None:
    """Within half an ulp of the exact result, plus what FP32 accumulation may lose.

    Rounding n times at random loses about sqrt(n) * 2^-24 of the sum of the products' magnitudes, in any order
    (Higham & Mary, "A New Approach to Probabilistic Rounding Error Analysis", 2019). Those magnitudes are the same
    function, linear in each operand, of absolute values.
    """
    function, shapes = CASES[case]
    inputs = operands(shapes, dtype)
    with HalfArithmetic(dtype):
        ours = with_gradients(function, inputs)
    exact_inputs = [x.double() for x in inputs]
    exact = with_gradients(function, exact_inputs, out_gradient(ours[0]))
    magnitudes = with_gradients(function, [x.abs() for x in exact_inputs], out_gradient(ours[0]).abs())
    for our, reference, magnitude in zip(ours, exact, magnitudes, strict=True):
        assert our.dtype == dtype
        error = (our.double() - reference).abs()
        rounding = 0.5 * ulp(torch.maximum(our.double().abs(), reference.abs()), dtype)
        assert (error <= rounding + SUMMANDS**0.5 * 2.0**-24 * magnitude).all()


@pytest.mark.parametrize("case", CASES)
def test_torchs_own_half_kernels_agree(case: str) -> None:
    """Both round to a neighbour of about the same FP32 sum; torch's, on some CPUs, round partial sums as well.

    A depthwise convolution's kernel rounds all of them on some: at random, n of them lose about sqrt(n) roundings.
    """
    function, shapes = CASES[case]
    inputs = operands(shapes)
    with HalfArithmetic():
        ours = with_gradients(function, inputs)
    theirs = with_gradients(function, inputs)
    roundings = SUMMANDS**0.5 if case == "conv, depthwise" else 1.0
    magnitudes = with_gradients(function, [x.double().abs() for x in inputs], out_gradient(ours[0]).abs())
    for our, their, magnitude in zip(ours, theirs, magnitudes, strict=True):
        assert our.dtype == their.dtype == torch.float16
        assert our.stride() == their.stride()
        difference = (our.double() - their.double()).abs()
        neighbours = ulp(torch.maximum(our.double().abs(), their.double().abs()), torch.float16)
        assert (difference <= neighbours + roundings * 2.0**-11 * magnitude).all()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_layout_is_the_operands(memory_format: torch.memory_format) -> None:
    x, w = (tensor.to(memory_format=memory_format) for tensor in operands(((2, 8, 9, 9), (16, 8, 3, 3))))
    with HalfArithmetic():
        assert F.conv2d(x, w).is_contiguous(memory_format=memory_format)


def test_kernels_are_on_inside_only_and_nest() -> None:
    extension = load_extension()

    def enabled() -> bool:
        before: bool = extension.enable_cube(False)
        extension.enable_cube(before)
        return before

    half, other = HalfArithmetic(), HalfArithmetic(torch.bfloat16)
    assert not enabled()
    with half:
        with other, half:
            assert enabled()
        assert enabled()
    assert not enabled()
    with pytest.raises(ZeroDivisionError), half:
        _ = 1 / 0
    assert not enabled()


def test_fp16_overflows_to_infinity_and_the_scaler_sees_it() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 8)
    before = layer.weight.detach().clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
    half = HalfArithmetic()

    def step() -> None:
        optimizer.zero_grad()
        with half:
            with half.autocast():
                loss = layer(torch.ones(4, 8)).float().square().sum()
            scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    step()
    assert scaler.get_scale() == 2.0**19
    assert torch.equal(layer.weight, before)
    while scaler.get_scale() > 2.0**8:
        scaler.update(scaler.get_scale() / 2)
    step()
    assert scaler.get_scale() == 2.0**8
    assert not torch.equal(layer.weight, before)
    assert torch.isfinite(layer.weight).all()


def test_weights_are_cast_once_a_context_and_anew_in_the_next() -> None:
    half = HalfArithmetic()
    layer = nn.Linear(3, 2, bias=False)
    with half, half.autocast():
        before = layer(torch.ones(1, 3))
        with torch.no_grad():
            layer.weight.zero_()
        assert torch.equal(layer(torch.ones(1, 3)), before)
    with half, half.autocast():
        assert torch.equal(layer(torch.ones(1, 3)), torch.zeros(1, 2).half())


class Small(nn.Module):
    """The building blocks of a detector: convolution with BN, with GN, an FPN's sum, an FP32 island, a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.body = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.lateral = nn.Conv2d(8, 8, 1)
        self.gn = nn.GroupNorm(2, 8)
        self.island = nn.Conv2d(8, 8, 1)
        self.score = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        fine = F.relu(self.bn(self.stem(images)))
        coarse = self.body(fine)
        fused = self.lateral(fine) + F.interpolate(coarse, scale_factor=2)
        features = F.relu(self.gn(fused))
        with torch.autocast("cpu", enabled=False):
            features = self.island(features.float())
        return F.binary_cross_entropy_with_logits(self.score(features), targets)

    def by_hand(self, images: Tensor, targets: Tensor) -> Tensor:
        """The same with every cast written down, on FP32 kernels: what the NPU's list says and the Cube rounds."""

        def cube(layer: nn.Conv2d, x: Tensor) -> Tensor:
            weight, bias = layer.weight.half().float(), None if layer.bias is None else layer.bias.half().float()
            return F.conv2d(x.half().float(), weight, bias, layer.stride, layer.padding).half()

        fine = F.relu(self.bn(cube(self.stem, images)))
        coarse = cube(self.body, fine)
        fused = cube(self.lateral, fine) + F.interpolate(coarse, scale_factor=2)
        features = F.relu(self.gn(fused.float()))
        features = self.island(features)
        return F.binary_cross_entropy_with_logits(cube(self.score, features).float(), targets)


def test_a_small_network_matches_the_same_network_by_hand() -> None:
    """Bit for bit, since both sum in the same order; a cast too many or too few would show."""
    torch.manual_seed(0)
    model = Small()
    images, targets = torch.randn(2, 3, 16, 16), torch.rand(2, 4, 8, 8).round()
    half = HalfArithmetic()
    with half:
        with half.autocast():
            loss = model(images, targets)
        ours = torch.autograd.grad(1024 * loss, list(model.parameters()))
    reference = model.by_hand(images, targets)
    expected = torch.autograd.grad(1024 * reference, list(model.parameters()))
    assert torch.equal(loss, reference)
    for (name, _), our, theirs in zip(model.named_parameters(), ours, expected, strict=True):
        assert torch.equal(our, theirs), name
    full = model(images, targets)
    assert loss != full
    torch.testing.assert_close(loss, full, rtol=1e-2, atol=1e-3)


FP32_TRAINING = """
import hashlib, torch
from torch import nn
{prelude}
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8, stride=2),
    nn.ConvTranspose2d(8, 4, 2), nn.Flatten(), nn.Linear(256, 10),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    out = model(torch.randn(4, 3, 16, 16))
    ((out @ out.t()).square().mean() + torch.mv(out, out[0]).mean() + torch.dot(out[0], out[1])
     + torch.baddbmm(out[None], out[None], torch.eye(10)[None]).mean()).backward()
    optimizer.step()
digest = hashlib.sha256()
for value in model.state_dict().values():
    digest.update(value.numpy().tobytes())
print(digest.hexdigest())
"""


def test_nothing_is_loaded_until_asked_for_and_fp32_is_untouched_bit_for_bit() -> None:
    def digest(prelude: str) -> str:
        command = [sys.executable, "-W", "error", "-c", FP32_TRAINING.format(prelude=prelude)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert done.stderr == ""  # torch warns there of overridden kernels
        return done.stdout

    idle = "import workspace.precision.half\nassert 'install_cube' not in str(torch._C._dispatch_get_all_op_names())"
    enabled = "from workspace.precision.half import HalfArithmetic\nHalfArithmetic().__enter__()"
    assert digest(idle) == digest(enabled) != ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.float32,), "is no half type"),
        ((torch.bfloat16, "saturate"), "only torch.float16 can"),
        ((torch.float16, "wrap"), "use 'inf_nan' or 'saturate'"),
    ],
)
def test_impossible_arithmetic_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        HalfArithmetic(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("compiler", "message"), [("no-such-compiler -O3", "install g\\+\\+"), ("false", "half.cpp does not compile")]
)
def test_a_missing_or_broken_compiler_is_one_clear_line(
    compiler: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    with pytest.raises(UserError, match=message) as error:
        load_extension.__wrapped__()
    assert "\n" not in str(error.value)


def test_a_killed_compilation_does_not_block_the_next(tmp_path: Path) -> None:
    torchs = tmp_path / "lock"  # torch's lock, a file; while it exists, torch waits for ever
    torchs.touch()
    with _alone_in(tmp_path):
        assert not torchs.exists()


def test_ninja_is_found_in_an_environment_that_is_not_activated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with _ninja_on_path():
        assert shutil.which("ninja")
    assert os.environ["PATH"] == str(tmp_path)
