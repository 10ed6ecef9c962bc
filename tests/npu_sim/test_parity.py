"""The CPU's FP16 is the NPU's: the same types in every operator that training uses, the same losses and gradients.

The NPU's side is the real torch_npu: its autocast, its dispatch tables, its scaler. Its kernels are the CPU's, so what
this cannot show is what an NPU's kernels do otherwise: the order of summation, and functions that they approximate.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache

import pytest
import torch
from autocast_probe import computed_in
from one_step import Step, build, first_batch, first_step
from short_runs import short_task
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile

from workspace.datasets import DataSet
from workspace.detectors import DETECTORS
from workspace.precision import FP32, LossScale, Precision
from workspace.precision.npu_autocast import POLICIES, follow_npu_on_cpu

FP16 = Precision(name="fp16", loss_scale=LossScale(init=256.0))
HF32 = Precision(name="hf32")
COMPUTED_IN = {
    "lower_precision_fp": "fp16",
    "fp32": "fp32",
    "fp32_set_opt_dtype": "fp32",
    "fp32_append_dtype": "fp32",
    "promote": "widest",
    "banned": "refused",
}
LISTED = {name: COMPUTED_IN[policy] for policy, names in POLICIES.items() for name in names}
# No arguments are found for these, which no detector uses; that they are listed is in the table.
NOT_CALLED = {"cosine_embedding_loss", "cross", "einsum", "gru_cell", "lstm_cell", "nuclear_norm.dim"}
# It decomposes by its own rules before anything arrives below autocast.
NOT_CALLED |= {"scaled_dot_product_attention"}

Both = Callable[[str, Precision], tuple[Step, Step, frozenset[str]]]


@pytest.fixture(scope="module")
def both(few_shapes: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """A step of the same weights and batch on the CPU and on the simulated NPU, and the operators called."""
    work = tmp_path_factory.mktemp("parity")

    @cache
    def run(name: str, precision: Precision) -> tuple[Step, Step, frozenset[str]]:
        cpu, npu = (
            build(short_task(few_shapes, name, precision, work / device, device=device)) for device in ("cpu", "npu:0")
        )
        npu.plain_model.load_state_dict(cpu.plain_model.state_dict())
        with _recorded() if precision is FP16 else nullcontext(set()) as called:  # recording takes time
            on_cpu, on_npu = (first_step(runner, first_batch(runner)) for runner in (cpu, npu))
        return on_cpu, on_npu, frozenset(called)

    return run


@contextmanager
def _recorded() -> Iterator[set[str]]:
    """The overloads that are called inside, also those that are made of others."""
    called: set[str] = set()
    with_overloads = _ExperimentalConfig(capture_overload_names=True)
    with profile(activities=[ProfilerActivity.CPU], experimental_config=with_overloads) as calls:
        yield called
    for call in calls.events():
        if call.name.startswith("aten::"):
            called.add(".".join(filter(None, (call.name.removeprefix("aten::"), call.overload_name))))


@pytest.mark.parametrize("precision", [FP32, HF32, FP16], ids=lambda precision: precision.name)
@pytest.mark.parametrize("detector", DETECTORS)
def test_losses_and_gradients_are_equal_bit_for_bit(detector: str, precision: Precision, both: Both) -> None:
    cpu, npu, _ = both(detector, precision)
    assert all(torch.isfinite(loss) for loss in cpu.losses.values())
    assert any(gradient.any() for gradient in cpu.gradients.values())
    assert cpu.losses.keys() == npu.losses.keys()
    assert {name for name, loss in cpu.losses.items() if not torch.equal(loss, npu.losses[name])} == set()
    assert cpu.gradients.keys() == npu.gradients.keys()
    assert {name for name, g in cpu.gradients.items() if not torch.equal(g, npu.gradients[name])} == set()


def test_the_precisions_are_different_arithmetics(both: Both) -> None:
    """So that the test above compares something."""
    assert len({float(both("fcos", precision)[1].losses["loss"]) for precision in (FP32, HF32, FP16)}) == 3


def _cast_on(key: str) -> set[str]:
    """The overloads that a dispatch table has an autocast kernel for, one that falls through not counted."""
    found = set()
    for name in torch._C._dispatch_get_all_op_names():
        if name.startswith("aten::") and torch._C._dispatch_has_kernel_for_dispatch_key(name, key):
            entry = next(
                line for line in torch._C._dispatch_dump_table(name).splitlines() if line.startswith(f"{key}:")
            )
            if "fallthrough" not in entry:
                found.add(name.removeprefix("aten::"))
    return found


def test_the_dispatch_tables_list_the_same_operators() -> None:
    follow_npu_on_cpu()
    npu = _cast_on("AutocastPrivateUse1")
    assert npu == set(LISTED)
    assert _cast_on("AutocastCPU") == npu


@pytest.mark.parametrize("name", sorted(LISTED.keys() - NOT_CALLED))
def test_a_listed_operator_is_cast_alike(name: str) -> None:
    follow_npu_on_cpu()
    assert computed_in(name, "npu") == LISTED[name]
    assert computed_in(name, "cpu") == LISTED[name]


def test_every_operator_of_the_six_models_is_cast_alike(both: Both, parity_table: list[str]) -> None:
    users: dict[str, list[str]] = {}
    for detector in DETECTORS:
        for name in both(detector, FP16)[2]:
            users.setdefault(name, []).append(detector)
    assert {"conv2d", "sum", "exp"} <= users.keys()
    assert not users.keys() & NOT_CALLED

    table = _cast_on("AutocastPrivateUse1")
    parity_table.append(f"{'operator':40} {'torch_npu':10} {'CPU':10} used by")
    for name in sorted(users.keys() & table):
        npu, cpu = computed_in(name, "npu"), computed_in(name, "cpu")
        parity_table.append(f"{name:40} {npu:10} {cpu:10} {' '.join(users[name])}")
        assert npu == cpu == LISTED[name]
    untouched = users.keys() - table
    assert not untouched & _cast_on("AutocastCPU")
    parity_table.append(f"{len(untouched)} more operators that neither casts")
