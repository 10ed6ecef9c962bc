"""What runs are expected to take: by runs like them, by a measured step, by published figures, or not known at all."""

import dataclasses
import json
from pathlib import Path

import pytest
from small_plan import finish, plan

from workspace.detectors.throughput import THROUGHPUT
from workspace.files import write_json
from workspace.journal import EVENTS
from workspace.orchestrator.cost import Costs, Estimate
from workspace.spec import RunSpec, run_folder

STEP_SECONDS = 0.075  # of the FCOS demo
A2 = "Atlas 800T A2"


def start(work_dir: Path, spec: RunSpec, *, steps: int, step: float, evaluation: float | None = None) -> None:
    """A run as it is after so many steps and an evaluation, which took that many seconds each."""
    folder = run_folder(work_dir, spec)
    folder.mkdir(parents=True)
    write_json(folder / "spec.json", spec.to_json())
    write_json(folder / "audit.json", {"device": {"name": "a CPU"}})
    events = [{"kind": "start", "time": 0.0, "step": 0, "epoch": 0}]
    events += [
        {"kind": "step", "time": 100 + n * step, "step": n, "epoch": 0, "metrics": {}} for n in range(1, steps + 1)
    ]
    if evaluation is not None:
        events.append(
            {"kind": "eval", "time": events[-1]["time"] + evaluation, "step": steps, "epoch": 1, "metrics": {}}
        )
    (folder / EVENTS).write_text("".join(json.dumps(event) + "\n" for event in events))


def test_samples_of_the_hardware_do_not_hide_steps_and_evaluations(tmp_path: Path) -> None:
    small = plan()
    spec = dataclasses.replace(small.baseline()[0].spec, epochs=1, evaluations=1, seed=7)
    start(tmp_path, spec, steps=50, step=0.5, evaluation=6.0)
    journal = run_folder(tmp_path, spec) / EVENTS
    lines = []
    for line in journal.read_text().splitlines():
        sample = {"kind": "system", "time": json.loads(line)["time"] - 0.1, "devices": ["npu:0"], "metrics": {}}
        lines += [json.dumps(sample), line]
    journal.write_text("\n".join(lines) + "\n")
    found = Costs(small.conditions, tmp_path).estimate(small.baseline()[0].spec, "a CPU")
    assert found == Estimate(pytest.approx(1200 * 0.5 + 3 * 6.0), "measured: 0.5 s a step")


def test_finished_runs_alike_tell_best(tmp_path: Path) -> None:
    small = plan()
    baseline, default = small.baseline(), small.default()
    finish(tmp_path, baseline[0].spec, seconds=10.0)
    finish(tmp_path, baseline[1].spec, seconds=20.0)
    finish(tmp_path, small.trial(0, {"steps": 9}).spec, seconds=1.0)  # a shorter run says nothing of the others
    costs = Costs(small.conditions, tmp_path)
    assert costs.devices([baseline[2].spec]) == ["a CPU"]
    assert costs.estimate(baseline[2].spec, "a CPU") == Estimate(15.0, "2 finished runs")
    assert costs.estimate(default[2].spec, "a CPU") == Estimate(
        pytest.approx(1200 * STEP_SECONDS * 1.15), "known CPU step time"
    )


def test_the_step_time_of_a_run_that_has_begun_tells_next_best(tmp_path: Path) -> None:
    small = plan()
    spec = small.baseline()[0].spec
    start(tmp_path, dataclasses.replace(spec, epochs=1, evaluations=1, seed=7), steps=50, step=0.5, evaluation=6.0)
    found = Costs(small.conditions, tmp_path).estimate(spec, "a CPU")
    assert found == Estimate(pytest.approx(1200 * 0.5 + 3 * 6.0), "measured: 0.5 s a step")


def test_a_probe_on_other_pictures_tells_the_step_but_not_the_evaluation(tmp_path: Path) -> None:
    small = plan()
    spec = small.baseline()[0].spec
    other = dataclasses.replace(spec.data, digest="other pictures")
    start(tmp_path, dataclasses.replace(spec, data=other), steps=50, step=0.5, evaluation=6.0)
    found = Costs(small.conditions, tmp_path).estimate(spec, "a CPU")
    assert found == Estimate(pytest.approx(1200 * 0.5), "measured: 0.5 s a step, evaluation not counted")


def test_a_pause_does_not_count_as_a_step(tmp_path: Path) -> None:
    small = plan()
    spec = small.baseline()[0].spec
    start(tmp_path, spec, steps=50, step=0.5)
    journal = run_folder(tmp_path, spec) / EVENTS
    more = {"kind": "start", "time": 9e6, "step": 50, "epoch": 1}, {"kind": "step", "time": 9e6 + 60, "step": 51}
    journal.write_text(journal.read_text() + "".join(json.dumps(event) + "\n" for event in more))
    found = Costs(small.conditions, tmp_path).estimate(spec, "a CPU")
    assert found is not None
    assert found.source.startswith("measured: 0.5 s a step")


@pytest.mark.parametrize(
    "change", [{"scale": "full"}, {"device": "cuda"}, {"devices": 2}, {"image_size": (32, 32)}, {"detector": "ssd300"}]
)
def test_other_steps_tell_nothing(change: dict[str, object], tmp_path: Path) -> None:
    small = plan()
    spec = small.baseline()[0].spec
    start(tmp_path, dataclasses.replace(spec, **change), steps=50, step=0.5)  # type: ignore[arg-type]
    costs = Costs(small.conditions, tmp_path)
    assert costs.devices([spec]) == [None]
    assert costs.estimate(spec, None) == Estimate(pytest.approx(1200 * STEP_SECONDS), "known CPU step time")


def test_a_few_steps_are_not_believed(tmp_path: Path) -> None:
    small = plan()
    spec = small.baseline()[0].spec
    start(tmp_path, spec, steps=10, step=0.5)
    found = Costs(small.conditions, tmp_path).estimate(spec, "a CPU")
    assert found == Estimate(pytest.approx(1200 * STEP_SECONDS), "known CPU step time")


def test_the_known_step_time_grows_with_the_pictures(tmp_path: Path) -> None:
    larger = plan(embedded=False)
    found = Costs(larger.conditions, tmp_path).estimate(larger.baseline()[0].spec, None)
    assert found == Estimate(pytest.approx(1200 * STEP_SECONDS * (160 / 96) ** 2), "known CPU step time")


def test_published_figures_name_their_device_precision_and_page(tmp_path: Path) -> None:
    full = plan(scale="full", embedded=False, device="npu")
    baseline, default = full.baseline()[0].spec, full.default()[0].spec
    costs = Costs(full.conditions, tmp_path)
    assert costs.devices([baseline, default]) == ["Ascend 910", A2]
    pictures = 12 * 400  # epochs, pictures; FCOS's batch of 16 divides them
    found = costs.estimate(default, A2)
    assert found is not None
    assert found.seconds == pytest.approx(pictures / (214 / 8))
    assert (found.source, found.page is not None and "DrivingSDK" in found.page) == ("published, fp16", True)
    slower = costs.estimate(baseline, A2)
    assert slower is not None
    assert (slower.seconds, slower.source) == (pytest.approx(pictures / (157 / 8)), "published, fp32")
    borrowed = costs.estimate(baseline, "Ascend 910")
    assert borrowed is not None
    assert borrowed.source == "published, fp16 only"


def test_devices_that_share_a_run_end_it_sooner(tmp_path: Path) -> None:
    alone, shared = (plan(scale="full", embedded=False, device="npu", devices=n) for n in (1, 8))
    one = Costs(alone.conditions, tmp_path).estimate(alone.baseline()[0].spec, A2)
    eight = Costs(shared.conditions, tmp_path).estimate(shared.baseline()[0].spec, A2)
    assert one is not None
    assert eight is not None
    assert one.seconds == pytest.approx(8 * eight.seconds)


def test_what_was_measured_goes_before_what_was_published(tmp_path: Path) -> None:
    full = plan(scale="full", embedded=False, device="npu")
    spec = full.default()[0].spec
    start(tmp_path, spec, steps=30, step=0.5)
    costs = Costs(full.conditions, tmp_path)
    assert costs.devices([spec]) == ["a CPU"]
    found = costs.estimate(spec, "a CPU")
    assert found is not None
    assert found.source == "measured: 0.5 s a step, evaluation not counted"


@pytest.mark.parametrize(("scale", "device"), [("demo", "npu"), ("full", "cpu")])
def test_what_nobody_knows_is_unknown(scale: str, device: str, tmp_path: Path) -> None:
    other = plan(scale=scale, embedded=False, device=device)
    costs = Costs(other.conditions, tmp_path)
    assert costs.devices([other.baseline()[0].spec]) == [None]
    assert costs.estimate(other.baseline()[0].spec, None) is None


def test_runs_of_another_version_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    small = plan()
    finish(tmp_path, small.default()[0].spec, seconds=10.0)
    (run_folder(tmp_path, small.default()[0].spec) / "result.json").write_text('{"ap": 5')
    for name, content in (("other", '{"detector": "fcos", "data": {}}'), ("damaged", '{"detector"')):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(content)
    spec = plan().baseline()[0].spec
    assert Costs(plan().conditions, tmp_path).devices([spec]) == [None]


def test_every_published_figure_has_a_page_and_a_plausible_speed() -> None:
    for figure in THROUGHPUT:
        assert figure.source.startswith("https://github.com/")
        assert 1 < figure.pictures < 200
    keys = [(figure.detector, figure.device, figure.precision) for figure in THROUGHPUT]
    assert len(set(keys)) == len(keys)
