"""The planted causes: right in FP32, wrong in half, mended by what they say, and trained by the house's workers."""

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torch import nn

from benchmarks.planted import pictures
from benchmarks.planted.causes import CAUSES, Cause, register_causes
from benchmarks.planted.diagnosed import asked, names
from benchmarks.planted.known import Known, KnownRun
from benchmarks.planted.modules.heads import SceneCoder, Softplus
from benchmarks.planted.modules.losses import FixedPointIoULoss, TemperedFocalLoss
from benchmarks.planted.modules.necks import Amplified, Contrast
from benchmarks.planted.modules.optimizers import HalfStateAdamW, HalfWeightsAdamW
from benchmarks.planted.modules.stems import RootMeanSquareNorm, TwoMomentsBatchNorm
from benchmarks.planted.plan import gap_jobs, judged, pool_jobs
from benchmarks.planted.pool import as_json, draw_recipe, held_draws, is_held, island_shares, share_held, stratum_share
from benchmarks.planted.report import write_report
from benchmarks.planted.runs import Job, conditions, play, spec_of
from benchmarks.planted.table import COLUMNS, write_islands, write_table
from workspace.orchestrator.conditions import Conditions
from workspace.precision.half import HalfArithmetic
from workspace.precision.islands import make_islands
from workspace.precision.policy import Overflow

NAMES = [cause.name for cause in CAUSES]


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    """The causes' detectors, known to the tests of this file alone."""
    with pytest.MonkeyPatch.context() as patch:
        from workspace import detectors

        patch.setattr(detectors, "_detectors", known := dict(detectors.DETECTORS))
        patch.setattr(detectors, "DETECTORS", known)
        register_causes()
        yield


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Conditions:
    return conditions(tmp_path_factory.mktemp("planted"))


def named(name: str) -> Cause:
    return next(cause for cause in CAUSES if cause.name == name)


@pytest.mark.parametrize("name", NAMES)
def test_a_cause_is_a_part_of_its_model_and_so_is_what_mends_it(name: str) -> None:
    cause = named(name)
    register_all_modules()
    model = MODELS.build(Config.fromfile(cause.detector.config_path("demo")).model)
    if cause.kind == "module":
        assert isinstance(model.get_submodule(cause.where), nn.Module)
        assert cause.mend == {"fp32_islands": (cause.where,)}
    make_islands(model, cause.mend.get("fp32_islands", ()), "cpu")
    changed = [name for name in cause.mend if hasattr(cause.precision, name) or hasattr(cause.recipe, name)]
    assert changed == list(cause.mend) != []


@pytest.mark.parametrize("name", NAMES)
def test_the_runs_of_a_cause_differ_in_what_they_should(name: str, given: Conditions) -> None:
    default, fp32, mended = (spec_of(job, given) for job in gap_jobs([named(name)], seeds=1))
    assert fp32.precision.name == "fp32"
    assert default.precision.name == mended.precision.name == "fp16"
    assert len({default.signature, fp32.signature, mended.signature}) == 3
    assert default.config_digest == fp32.config_digest == mended.config_digest


def test_what_the_user_wrote_is_a_part_of_what_names_a_run() -> None:
    digests = {cause.detector.config_digest("demo") for cause in CAUSES}
    assert len(digests) == len({(cause.config, cause.code) for cause in CAUSES}) == 12


def bright(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


MODULES: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[torch.Tensor, ...]], Overflow]] = {
    "two moments": (lambda: TwoMomentsBatchNorm(4, eps=1e-2), lambda: (60 + bright(4, 4, 16, 16),), "inf_nan"),
    "root mean square": (lambda: RootMeanSquareNorm(4), lambda: (1600 * bright(2, 4, 16, 16),), "inf_nan"),
    "contrast": (Contrast, lambda: (bright(2, 4, 8, 8) * torch.tensor([0.0, 1, 1, 1])[:, None, None],), "inf_nan"),
    "softplus": (Softplus, lambda: (4 * bright(64),), "inf_nan"),
    "scene": (SceneCoder, lambda: (2 * bright(32, 2), 2 * bright(32, 4)), "inf_nan"),
    "focal loss": (TemperedFocalLoss, lambda: (3 * bright(64, 3) - 1.3, torch.arange(64) % 4), "inf_nan"),
    "iou loss": (
        FixedPointIoULoss,
        lambda: (torch.tensor([[0.0, 0, 3, 3.0]]), torch.tensor([[0.5, 0, 3, 2.5]]), torch.ones(1), torch.ones(1)),
        "inf_nan",
    ),
    "amplified": (lambda: Amplified(8, 2.0**20), lambda: (bright(2, 8, 8, 8),), "saturate"),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_right_in_fp32_and_wrong_in_half_unless_it_is_an_island(name: str) -> None:
    make, inputs, overflow = MODULES[name]
    torch.manual_seed(0)
    module = make()
    exact = copy.deepcopy(module).double()(*map(_doubled, inputs()))
    as_network = tuple(value.half() if value.is_floating_point() else value for value in inputs())
    island = nn.Sequential(copy.deepcopy(module))
    make_islands(island, ["0"], "cpu")
    half = HalfArithmetic(torch.float16, overflow)
    with half, half.autocast():
        lost = _error(copy.deepcopy(module)(*as_network), exact)
        mended = _error(island[0](*as_network), exact)
    assert _error(module(*inputs()), exact) < 2e-3
    assert lost > 0.1
    assert mended < 0.1 * lost


def _doubled(value: torch.Tensor) -> torch.Tensor:
    return value.double() if value.is_floating_point() else value


def _error(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Relative to the values' spread, in the L2 norm; infinite where nothing finite was found."""
    spread = exact - exact.mean() if exact.numel() > 1 else exact
    error = float((found.double() - exact).norm() / spread.norm())
    return error if error < float("inf") else float("inf")


def test_weights_in_half_lose_small_updates() -> None:
    kept, lost = (nn.Parameter(torch.full((3,), 128.0)) for _ in range(2))
    for parameter, optimizer in (
        (kept, torch.optim.AdamW([kept], lr=0.01, weight_decay=0.0)),
        (lost, HalfWeightsAdamW([lost], lr=0.01, weight_decay=0.0)),
    ):
        parameter.grad = torch.ones(3)
        optimizer.step()
    assert torch.allclose(kept, torch.tensor(128 - 0.01), atol=1e-4)
    assert torch.equal(lost, torch.full((3,), 128.0))


def test_moments_in_half_lose_small_gradients() -> None:
    kept, lost = (nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizers = torch.optim.AdamW([kept], lr=1e-3), HalfStateAdamW([lost], lr=1e-3)
    for _ in range(50):
        for parameter, optimizer in zip((kept, lost), optimizers, strict=True):
            parameter.grad = torch.full((3,), 1e-3)
            optimizer.step()
    assert torch.equal(optimizers[1].state[lost]["exp_avg_sq"], torch.zeros(3))
    assert bool((1 - lost > 3 * (1 - kept)).all())


@pytest.mark.parametrize("name", NAMES)
def test_a_pool_is_drawn_from_its_seed_and_can_be_run(name: str, given: Conditions) -> None:
    cause = named(name)
    pool = [draw_recipe(cause, index) for index in range(12)]
    assert any("fp32_islands" in changes for changes in pool)
    specs = [spec_of(job, given) for job in pool_jobs([cause], range(14))]
    assert len({spec.signature for spec in specs}) == len(specs) == 2 * 14 - 2  # the last two have no cheaper schedule
    assert {spec.epochs for spec in specs} == {2, 6}
    json.dumps([as_json(changes) for changes in pool], allow_nan=False)


@pytest.mark.parametrize("name", NAMES)
def test_draws_that_hold_the_planted_module_are_as_frequent_as_they_count_for(name: str) -> None:
    cause = named(name)
    draws = [draw_recipe(cause, index) for index in range(600)]
    held = sum(is_held(cause, changes) for changes in draws)
    assert abs(held / 600 - share_held(cause)) < 0.045  # four standard errors of the largest share
    assert (share_held(cause) > 0) is ("fp32_islands" in cause.mend)
    later = held_draws(cause, 3)
    assert len(later) == (3 if share_held(cause) else 0)
    assert all(is_held(cause, draw_recipe(cause, index)) for index in later)
    islands = island_shares(cause)
    drawn = {
        changes.get("fp32_islands", ()): changes for changes in (draw_recipe(cause, index) for index in range(600))
    }
    assert islands == {island: stratum_share(cause, changes) for island, changes in drawn.items()}
    assert set(islands.values()) <= {round(share_held(cause), 6), round(1 - share_held(cause), 6)}


def test_the_islands_that_searches_are_replayed_among_are_those_of_the_causes(tmp_path: Path) -> None:
    committed = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "planted_islands.csv"
    write_islands(CAUSES, tmp_path / "islands.csv")
    assert (tmp_path / "islands.csv").read_text() == committed.read_text()
    one = named("iou_loss")
    write_islands([one], tmp_path / "islands.csv")  # the others' rows stay
    again = pd.read_csv(tmp_path / "islands.csv")
    assert sorted(again.cause.unique()) == sorted(NAMES)
    assert len(again) == len(pd.read_csv(committed))


@pytest.mark.parametrize(
    ("where", "is_it"),
    [
        ("backbone.bn1", True),
        ("backbone.bn1:forward", True),
        ("backbone.bn1.inner", True),
        ("backbone.bn10", False),
        ("backbone", False),
    ],
)
def test_a_cause_is_named_by_itself_or_a_part_of_it(where: str, is_it: bool) -> None:
    cause = named("two_moments_norm")
    assert names(cause, "module", where) is is_it
    assert not names(cause, "overflow", where)
    content = {"causes": [{"kind": "overflow", "where": "forward"}, {"kind": "module", "where": where}], "seconds": 3.0}
    assert asked(cause, content).place == (2 if is_it else None)


def test_pictures_are_the_same_each_time(tmp_path: Path) -> None:
    first, second = (pictures.write_pictures(tmp_path / name) for name in ("a", "b"))
    for file in ("annotations/train.json", "annotations/val.json", "images/val_000.png"):
        assert (first / file).read_bytes() == (second / file).read_bytes()


def test_a_run_is_trained_once_and_becomes_a_row(given: Conditions, tmp_path: Path, capsys: Any) -> None:
    job = Job(named("scene_coordinates"), "pool00", {"lr": 1e-3}, 0.01, 0, "search")
    work_dir = given.dataset.splits["train"].annotations.parents[2]
    file = tmp_path / "runs.csv"
    known = Known(given, work_dir, file)
    assert known.missing([job]) == [job]
    play([job, job], given, work_dir, workers=1)
    assert "1 runs to be trained" in capsys.readouterr().out
    assert known.missing([job]) == []
    unfinished = dataclasses.replace(job, seed=1)
    assert write_table([job, job, unfinished], [job.cause], known, file) == 1
    table = pd.read_csv(file)
    assert tuple(table.columns) == COLUMNS
    write_report([job.cause], known, work_dir, 2, tmp_path)
    line = pd.read_csv(tmp_path / "planted.csv", keep_default_na=False).iloc[0]
    assert (line["cause"], line["default_gap"], line["closed_by"]) == ("scene_coordinates", "", "nothing")
    row = table.iloc[0]
    assert (row.cause, row.changes, row.steps, row.flops_in_half) == ("scene_coordinates", '{"lr": 0.001}', 26, 1.0)
    assert list(json.loads(row.curve)) == ["1"]

    elsewhere = Known(given, tmp_path, file)  # another work folder, which has the table alone
    assert elsewhere.run(job) == known.run(job)
    assert elsewhere.missing([job, unfinished]) == [unfinished]
    assert elsewhere.missing([dataclasses.replace(job, recipe="pool01", changes={"lr": 2e-3})]) != []
    other = named("iou_loss")
    assert write_table([], [other], elsewhere, file) == 0  # what was not asked for stays
    assert pd.read_csv(file).cause.tolist() == ["scene_coordinates"]


def test_a_recipe_that_looks_closed_is_judged_seed_by_seed_until_it_cannot_close(given: Conditions) -> None:
    cause = named("iou_loss")
    pool = pool_jobs([cause], range(4))
    runs: dict[Any, float] = {job.key: 80.0 for job in pool}
    lost = next(job for job in pool if job.recipe == "pool01" and job.fidelity == 1)
    runs[lost.key] = 70.0  # on the search split already
    runs |= {job.key: 80.0 + job.seed for job in Job(cause, "fp32", {}, 1.0, 0, "eval").judged(4)}

    class Made(Known):
        def run(self, job: Job) -> KnownRun | None:
            return KnownRun(runs[job.key], {}, 1.0, 1, "") if job.key in runs else None

    known = Made(given, Path("nowhere"), Path("nowhere"))
    due = judged(pool, known, 4)
    worth_it = [job.recipe for job in due]
    assert "pool01" not in worth_it
    assert {job.recipe for job in due} <= {"pool00"}
    assert [(job.split, job.seed, job.fidelity) for job in due] == [("eval", 0, 1.0)] * len(due)
    island = Job(cause, "neck", {"fp32_islands": ("neck",)}, 1.0, 1000, "search")
    runs[island.key] = 80.0
    asked_for = [*pool, island]
    for seed in range(4):
        (next_one,) = [job for job in judged(asked_for, known, 4) if job.recipe == "neck"]
        assert next_one.seed == seed
        runs[next_one.key] = 81.0
    assert not [job for job in judged(asked_for, known, 4) if job.recipe == "neck"]
    runs[dataclasses.replace(island, split="eval", seed=0).key] = 20.0
    for seed in range(1, 4):
        del runs[dataclasses.replace(island, split="eval", seed=seed).key]
    assert not [job for job in judged(asked_for, known, 4) if job.recipe == "neck"]
