"""A gap taken apart: by class and size over seeds, and over pictures."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from small_plan import plan

from workspace.errors import UserError
from workspace.gap import PictureInterval, bootstrap_pictures, measure_effect
from workspace.matches import MATCHES, Matches
from workspace.orchestrator.details import details_table, picture_lines
from workspace.orchestrator.picture_intervals import PICTURES_FILE, PictureIntervals
from workspace.orchestrator.plan import Job, Plan
from workspace.orchestrator.report import Cost, Report, build_report
from workspace.orchestrator.runs import RunRecord
from workspace.orchestrator.tables import details_tables

PICTURES = 40


def matches(hit_rate: Sequence[float], seed: int, *, first_picture: int = 1) -> Matches:
    """An evaluation with one object of each class in each picture, found at that rate in each class; at any IoU."""
    rng = np.random.default_rng(seed)
    classes = len(hit_rate)
    scores = rng.random((classes, PICTURES))
    order = np.argsort(-scores, axis=1)
    hits = rng.random((classes, PICTURES)) < np.array(hit_rate)[:, None]
    hits = np.take_along_axis(hits, order, 1).reshape(-1)
    bits = np.broadcast_to(hits[:, None, None], (hits.size, 4, 10))
    return Matches(
        pictures=np.arange(first_picture, first_picture + PICTURES),
        classes=("dot", "ring")[:classes],
        positives=np.ones((classes, 4, PICTURES), dtype=np.int32),
        scores=np.take_along_axis(scores, order, 1).reshape(-1),
        classes_of=np.repeat(np.arange(classes, dtype=np.int32), PICTURES),
        pictures_of=order.reshape(-1).astype(np.int32),
        hits=bits,
        misses=~bits,
    )


def report(
    tmp_path: Path, *, without: str = "", known: PictureIntervals | None = None, small: Plan | None = None
) -> Report:
    small = small or plan()
    jobs: dict[str, Sequence[Job]] = {"baseline": small.baseline(), "default": small.default()}
    records, folders = {}, {}
    for arm, rates in (("baseline", (0.9, 0.8)), ("default", (0.9, 0.3))):
        for job in jobs[arm]:
            found = matches(rates, job.spec.seed + 100 * (arm == "default"))
            folders[job.spec.signature] = folder = tmp_path / job.spec.signature
            folder.mkdir(exist_ok=True)
            if job.name != without:
                found.save(folder / MATCHES)
            records[job.spec.signature] = RunRecord(
                ap=found.mean_average_precision(),
                seconds=1.0,
                contradictions=(),
                circumstances={},
                metrics={"coco/bbox_mAP_s": 30.0 + job.spec.seed, "coco/bbox_mAP_m": 60.0, "coco/bbox_mAP_l": -100.0},
            )
    cost = Cost(device_seconds=1.0, trained=0, reused=0)
    return build_report(
        small, jobs, records, metric="coco/bbox_mAP", best=None, cost=cost, folders=folders, known=known
    )


def test_by_class_and_size_over_seeds(tmp_path: Path) -> None:
    found = report(tmp_path).details["default"]
    assert list(found.classes) == ["dot", "ring"]
    assert found.classes["ring"].mean < -30
    assert found.classes["ring"].high is not None
    assert found.classes["ring"].high < 0
    low, high = found.classes["dot"].low, found.classes["dot"].high
    assert low is not None
    assert high is not None
    assert low < 0 < high
    arms = {name: {0: 30.0, 1: 31.0, 2: 32.0} for name in ("baseline", "candidate")}
    assert found.sizes["small"] == measure_effect(arms, {"baseline": -1.0, "candidate": 1.0})
    assert "large" not in found.sizes, "no object of that size"


def test_of_seeds_that_were_added_the_intervals_allow_for_the_looks_of_the_whole_gap(tmp_path: Path) -> None:
    once = report(tmp_path).details["default"]
    adding = dataclasses.replace(plan(), max_seeds=8)
    among_looks = report(tmp_path, small=adding).details["default"]
    for part in ("dot", "ring"):
        assert among_looks.classes[part].sequential
        assert among_looks.classes[part].low < once.classes[part].low
    assert among_looks.sizes["small"].high > once.sizes["small"].high
    assert among_looks.pictures == once.pictures


def test_the_answer_has_them(tmp_path: Path) -> None:
    answered = report(tmp_path)
    gap = answered.to_json()["gaps"]["default"]
    assert gap["by_class"].keys() == {"dot", "ring"}
    assert gap["by_size"].keys() == {"small", "medium"}
    assert gap["pictures"]["low"] < gap["mean"] < gap["pictures"]["high"]
    table = details_table(answered.details)
    assert list(table.columns) == ["gap", "of", "name", "mean", "low", "high"]
    assert len(table) == 4
    (shown,) = details_tables(answered)
    assert shown.row_count == 4
    assert list(shown.columns[0].cells) == ["small objects", "medium objects", "dot", "ring"]
    assert "No verdicts" in str(shown.caption)
    (line,) = picture_lines(answered.details)
    assert line.startswith("default: on other pictures, with the same runs, the gap is -")
    assert f"resamples of {PICTURES} pictures" in line


def test_a_run_without_matches_leaves_the_sizes_and_says_what_makes_them(tmp_path: Path) -> None:
    answered = report(tmp_path, without="default seed 1")
    found = answered.details["default"]
    assert (found.classes, found.pictures, found.unknown) == ({}, None, ["default seed 1"])
    assert found.sizes.keys() == {"small", "medium"}
    (line,) = picture_lines(answered.details)
    assert "default seed 1 left no matches.npz" in line
    assert "python -m workspace test" in line


class TestKeptIntervals:
    def test_a_second_start_draws_no_pictures_and_says_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = report(tmp_path, known=PictureIntervals(tmp_path / "kept")).details
        assert first == report(tmp_path).details

        def refuse(**_: object) -> None:
            raise AssertionError("the pictures were drawn again")

        monkeypatch.setattr("workspace.orchestrator.details.bootstrap_pictures", refuse)
        assert report(tmp_path, known=PictureIntervals(tmp_path / "kept")).details == first

    def test_what_was_matched_anew_is_worked_out_anew(self, tmp_path: Path) -> None:
        kept = PictureIntervals(tmp_path)
        files = {"a": tmp_path / "a.npz", "b": tmp_path / "b.npz"}
        for seed, path in enumerate(files.values()):
            matches((0.5,), seed).save(path)

        def work_out(low: float) -> Callable[[], PictureInterval]:
            return lambda: PictureInterval(low=low, high=1.0, pictures=PICTURES, resamples=200)

        a, b = ({name: path} for name, path in files.items())
        assert [kept.of(a, b, work_out(low)).low for low in (-1.0, -2.0)] == [-1.0, -1.0]
        assert kept.of(b, a, work_out(-3.0)).low == -3.0, "the other way round it is another gap"
        matches((0.9,), 7).save(files["b"])
        assert PictureIntervals(tmp_path).of(a, b, work_out(-4.0)).low == -4.0

    @pytest.mark.parametrize("content", ["", "{", "[1]", "ÿ"])
    def test_a_file_that_is_none_is_written_anew(self, content: str, tmp_path: Path) -> None:
        expected = report(tmp_path).details
        (tmp_path / PICTURES_FILE).write_text(content, encoding="latin-1")
        assert report(tmp_path, known=PictureIntervals(tmp_path)).details == expected
        assert len(json.loads((tmp_path / PICTURES_FILE).read_text())) == 1

    @pytest.mark.parametrize("entry", [3, {}, {"low": "?", "high": 1, "pictures": 1, "resamples": 1}, None])
    def test_an_entry_that_is_none_is_written_anew(self, entry: object, tmp_path: Path) -> None:
        expected = report(tmp_path, known=PictureIntervals(tmp_path)).details
        (key,) = stored = json.loads((tmp_path / PICTURES_FILE).read_text())
        (tmp_path / PICTURES_FILE).write_text(json.dumps({key: entry}))
        assert report(tmp_path, known=PictureIntervals(tmp_path)).details == expected
        assert json.loads((tmp_path / PICTURES_FILE).read_text()) == stored


class TestBootstrap:
    def test_pairs_the_arms_over_pictures(self) -> None:
        same = [matches((0.6,), seed) for seed in range(2)]
        nothing = bootstrap_pictures(same, same)
        assert (nothing.low, nothing.high) == (0.0, 0.0)
        other = bootstrap_pictures(same, [matches((0.6,), seed) for seed in (2, 3)])
        assert other.low < other.high

    def test_is_the_spread_of_sets_of_as_many_pictures(self) -> None:
        """Of a score that is a mean over pictures, the interval is that of the mean."""
        baseline, candidate = matches((0.5,), 0), matches((0.9,), 1)
        found = bootstrap_pictures([baseline], [candidate])
        sets = np.random.default_rng(5).integers(0, PICTURES, (400, PICTURES))
        gaps = [
            candidate.mean_average_precision(np.bincount(drawn, minlength=PICTURES))
            - baseline.mean_average_precision(np.bincount(drawn, minlength=PICTURES))
            for drawn in sets
        ]
        assert (found.low, found.high) == pytest.approx(np.quantile(gaps, (0.05, 0.95)), abs=3)

    def test_scores_each_resample_as_it_would_by_itself(self) -> None:
        arms = [[matches((rate, 0.6), seed) for seed in seeds] for rate, seeds in ((0.8, (0, 1)), (0.6, (2, 3, 4)))]
        found = bootstrap_pictures(*arms)
        drawn = np.random.default_rng(0).integers(0, PICTURES, (found.resamples, PICTURES))
        gaps = []
        for of in drawn:
            counts = np.bincount(of, minlength=PICTURES)
            means = [np.mean([run.mean_average_precision(counts) for run in arm]) for arm in arms]
            gaps.append(means[1] - means[0])
        assert found.resamples == 500
        assert (found.low, found.high) == pytest.approx(np.quantile(gaps, (0.05, 0.95)), abs=1e-9)

    def test_refuses_runs_of_other_pictures(self) -> None:
        with pytest.raises(UserError, match="not evaluated on the same pictures"):
            bootstrap_pictures([matches((0.5,), 0)], [matches((0.5,), 0, first_picture=2)])


def test_what_is_stored_is_what_was_matched(tmp_path: Path) -> None:
    kept = matches((0.5, 0.7), 0)
    kept.save(tmp_path / MATCHES)
    for name, value in vars(Matches.load(tmp_path / MATCHES)).items():
        np.testing.assert_array_equal(value, getattr(kept, name), err_msg=name)
