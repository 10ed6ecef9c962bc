"""Backbone weights: fetched once, checked, and loaded whole or not at all."""

import dataclasses
import hashlib
import http.server
import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mmengine
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torch import nn

from workspace.detectors import DETECTORS, BackboneWeights, Detector, detector
from workspace.errors import UserError
from workspace.precision import FP32
from workspace.spec import CHECKPOINT, run_folder
from workspace.training import run
from workspace.training.task import Task
from workspace.training.weights import load_backbone, local_weights

CONTENT = b"weights"
FILE = f"small-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"
STARTING = [d for d in DETECTORS.values() if d.full.weights is not None]
MakeTask = Callable[..., Task]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Address of a web server, the folder that it serves, and the paths that were asked for."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_request(self, *_: Any) -> None:
            asked.append(self.path)

        def log_message(self, *_: Any) -> None:
            """Not to the terminal."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}", folder, asked
        serving.shutdown()


def test_weights_are_downloaded_once(server: tuple[str, Path, list[str]], cache: Path) -> None:
    address, folder, asked = server
    (folder / FILE).write_bytes(CONTENT)
    weights = BackboneWeights(urls=(f"{address}/{FILE}",))
    assert local_weights(weights) == local_weights(weights) == cache / FILE
    assert (cache / FILE).read_bytes() == CONTENT
    assert asked == [f"/{FILE}"]


def test_the_next_address_is_tried_where_one_does_not_answer(server: tuple[str, Path, list[str]], cache: Path) -> None:
    address, folder, _ = server
    (folder / FILE).write_bytes(CONTENT)
    weights = BackboneWeights(urls=(f"http://127.0.0.1:9/{FILE}", f"{address}/gone/{FILE}", f"{address}/{FILE}"))
    assert local_weights(weights).read_bytes() == CONTENT


@pytest.mark.parametrize("served", [CONTENT[:-1], b"<html>log in first</html>"], ids=["cut off", "another page"])
def test_what_is_not_the_published_file_is_not_kept(
    served: bytes, server: tuple[str, Path, list[str]], cache: Path
) -> None:
    address, folder, _ = server
    (folder / FILE).write_bytes(served)
    with pytest.raises(UserError, match="its checksum is wrong") as raised:
        local_weights(BackboneWeights(urls=(f"{address}/{FILE}",)))
    assert "\n" not in str(raised.value)
    assert not list(cache.iterdir())


def test_a_damaged_file_of_the_cache_is_fetched_again(server: tuple[str, Path, list[str]], cache: Path) -> None:
    address, folder, _ = server
    (folder / FILE).write_bytes(CONTENT)
    cache.mkdir(parents=True)
    (cache / FILE).write_bytes(CONTENT[:3])
    assert local_weights(BackboneWeights(urls=(f"{address}/{FILE}",))).read_bytes() == CONTENT


def test_without_a_network_the_message_says_which_file_goes_where(cache: Path) -> None:
    with pytest.raises(UserError) as raised:
        local_weights(BackboneWeights(urls=(f"http://127.0.0.1:9/{FILE}",)))
    message = str(raised.value)
    assert "\n" not in message
    assert all(word in message for word in (f"http://127.0.0.1:9/{FILE}", "refused", str(cache), "--weights"))
    (cache / FILE).write_bytes(CONTENT)
    assert local_weights(BackboneWeights(urls=(f"http://127.0.0.1:9/{FILE}",))) == cache / FILE


def test_a_mirror_is_read_and_never_written(tmp_path: Path, cache: Path) -> None:
    weights = BackboneWeights(urls=(f"http://127.0.0.1:9/{FILE}",))
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    with pytest.raises(UserError, match=f"there is no {FILE} in it; get it from http://127.0.0.1:9/{FILE}"):
        local_weights(weights, mirror)
    (mirror / FILE).write_bytes(CONTENT[:3])
    with pytest.raises(UserError, match=f"not the published file, whose SHA-256 begins with {weights.sha256}"):
        local_weights(weights, mirror)
    assert (mirror / FILE).read_bytes() == CONTENT[:3]
    (mirror / FILE).write_bytes(CONTENT)
    assert local_weights(weights, mirror) == mirror / FILE
    assert not cache.exists()


@pytest.mark.parametrize("described", STARTING, ids=lambda d: d.name)
def test_the_files_are_those_that_mmdetection_s_own_configuration_names(described: Detector) -> None:
    named = Config.fromfile(described.config_path("full")).model.backbone.init_cfg.checkpoint
    scheme, alias = named.split("://")
    table = {"torchvision": "torchvision_0.12.json", "open-mmlab": "openmmlab.json"}[scheme]
    published = json.loads((Path(mmengine.__file__).parent / "hub" / table).read_text())[alias]
    assert described.full.weights is not None
    assert described.full.weights.file == published.rpartition("/")[2]
    assert {url.rpartition("/")[2] for url in described.full.weights.urls} == {described.full.weights.file}


def test_ssdlite_and_the_demos_start_from_nothing() -> None:
    assert detector("ssdlite").full.weights is None
    assert all(d.demo.weights is None for d in DETECTORS.values())


def test_other_weights_are_another_signature() -> None:
    fcos = detector("fcos")
    assert fcos.full.weights is not None
    url = "https://mirror.example/resnet50_caffe-788b5fa3.pth"
    mirrored = dataclasses.replace(fcos, full=dataclasses.replace(fcos.full, weights=BackboneWeights(urls=(url,))))
    other = BackboneWeights(urls=(url.replace("788b5fa3", "788b5fa4"),))
    changed = dataclasses.replace(fcos, full=dataclasses.replace(fcos.full, weights=other))
    assert mirrored.config_digest("full") == fcos.config_digest("full")
    assert changed.config_digest("full") != fcos.config_digest("full")
    assert changed.config_digest("demo") == fcos.config_digest("demo")


def full_backbone(name: str) -> nn.Module:
    register_all_modules()
    cfg = Config.fromfile(detector(name).config_path("full")).model.backbone
    cfg.init_cfg = None
    backbone: nn.Module = MODELS.build(cfg)
    return backbone


def published_file(backbone: nn.Module, *, like: str) -> dict[str, Any]:
    """Random weights under the names that the published file has: a classifier beside them, batches not counted."""
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.rand(value.shape, generator=generator)
        for name, value in backbone.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    extra = {"resnet50": "fc.weight", "resnet50_caffe": "conv1.bias", "vgg16_caffe": "classifier.0.weight"}[like]
    return {**state, extra: torch.zeros(3)}


@pytest.mark.parametrize("name", ["ssd300", "retinanet", "fcos"])  # one for each published file
def test_backbones_take_all_of_their_weights(name: str, tmp_path: Path) -> None:
    weights = detector(name).full.weights
    assert weights is not None
    backbone = full_backbone(name)
    state = published_file(backbone, like=weights.file.rpartition("-")[0])
    torch.save({"state_dict": state}, tmp_path / "w")
    load_backbone(backbone, tmp_path / "w")
    for key, value in backbone.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, state[key]), key


def test_files_of_before_torch_1_6_are_read(tmp_path: Path) -> None:
    layer = nn.Linear(2, 2)
    torch.save(
        dict.fromkeys(layer.state_dict(), torch.ones(2)) | {"weight": torch.ones(2, 2)},
        tmp_path / "w",
        _use_new_zipfile_serialization=False,
    )
    load_backbone(layer, tmp_path / "w")
    assert all((parameter == 1).all() for parameter in layer.parameters())


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    backbone = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    torch.save({"features.0.weight": torch.ones(2), "0.weight": torch.ones(2, 2)}, tmp_path / "other")
    with pytest.raises(UserError, match=r"lacks 5 of the 7 weights of Sequential, the first of them 0\.bias"):
        load_backbone(backbone, tmp_path / "other")
    torch.save({**backbone.state_dict(), "0.weight": torch.ones(5)}, tmp_path / "shape")
    with pytest.raises(UserError, match=r"does not hold weights of Sequential: size mismatch for 0\.weight") as raised:
        load_backbone(backbone, tmp_path / "shape")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"not a pickle", None], ids=["empty", "text", "code"])
def test_a_file_that_is_not_weights_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    if content is None:  # an object of a class: loading it would run code
        buffer = io.BytesIO()
        torch.save({"state_dict": Path("x")}, buffer)
        content = buffer.getvalue()
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(UserError, match="is not a file of tensors alone") as raised:
        load_backbone(nn.ReLU(), tmp_path / "w")
    assert "\n" not in str(raised.value)


def starting_from(weights: BackboneWeights, task: Task, monkeypatch: pytest.MonkeyPatch) -> Task:
    """That demo task as if its detector began from these weights, as full-scale ones do."""
    fcos = detector("fcos")
    started = dataclasses.replace(fcos, demo=dataclasses.replace(fcos.demo, weights=weights))
    for module in ("workspace.training.config", "workspace.training.run"):
        monkeypatch.setattr(f"{module}.detector", lambda _: started)
    return task


def test_a_run_begins_with_the_weights_and_stores_their_address_only(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = BackboneWeights(urls=("http://127.0.0.1:9/small-01234567.pth",))
    task = starting_from(weights, make_task(precision=FP32, epochs=2), monkeypatch)
    with pytest.raises(UserError, match=r"starts from http://127\.0\.0\.1:9/small-01234567\.pth"):
        run.train(task)

    backbone = run.build_runner(task).model.backbone
    file = tmp_path / "here" / "w.pth"
    file.parent.mkdir()
    state = published_file(backbone, like="resnet50")
    torch.save(state, file)
    task = dataclasses.replace(task, weights=file)
    begun: dict[str, torch.Tensor] = {}
    build = run.build_runner

    def stopping(built: Task) -> Any:
        runner = build(built)
        take = runner.load_or_resume

        def looking() -> None:
            begun.update({name: value.clone() for name, value in runner.model.backbone.state_dict().items()})
            take()

        runner.load_or_resume = looking
        return runner

    monkeypatch.setattr(run, "build_runner", stopping)
    run.train(task)
    assert all(torch.equal(begun[name], value) for name, value in state.items() if name in begun)
    folder = run_folder(tmp_path / "work", task.spec)
    meta = torch.load(folder / "model.pth", weights_only=True)["meta"]
    for stored in ((folder / "config.py").read_text(), meta["cfg"]):
        assert weights.urls[0] in stored
        assert str(file.parent) not in stored


def test_a_run_that_goes_on_needs_no_weights(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = BackboneWeights(urls=("http://127.0.0.1:9/small-01234567.pth",))
    task = starting_from(weights, make_task(precision=FP32, epochs=2), monkeypatch)
    runner = run.build_runner(task)
    torch.save(published_file(runner.model.backbone, like="resnet50"), tmp_path / "w.pth")
    build = run.build_runner

    def interrupted(built: Task) -> Any:
        runner = build(built)
        save = runner.save_progress

        def saving() -> None:
            save()
            raise KeyboardInterrupt

        runner.save_progress = saving
        return runner

    with monkeypatch.context() as patch:
        patch.setattr(run, "build_runner", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.train(dataclasses.replace(task, weights=tmp_path / "w.pth"))
    assert (task.folder / CHECKPOINT).exists()
    run.train(task)
    assert (task.folder / "result.json").exists()
