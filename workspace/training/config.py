"""From a `RunSpec` to the MMEngine configuration that trains it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_distributed
from mmengine.registry import OPTIMIZERS

from workspace.datasets import Split
from workspace.detectors import detector
from workspace.errors import UserError
from workspace.spec import Recipe, RunSpec
from workspace.training.task import Task

CACHE_MIB = 512
"""Bound on the decoded pictures that a process of a run keeps in memory of each split, its loaders together."""


def build_config(task: Task) -> Config:
    """The complete configuration of a run, as data: what is stored beside its result."""
    spec = task.spec
    described = detector(spec.detector)
    cfg = Config.fromfile(described.config_path(spec.scale))
    set_classes(cfg.model, len(task.classes))
    weights = described.variant(spec.scale).weights
    if weights is not None:  # by URL: where the file lies on this machine is no part of what the run is
        cfg.model.backbone.init_cfg = dict(type="Pretrained", checkpoint=weights.urls[0])
    metric = described.metric.removeprefix("coco/").removesuffix("_mAP")

    train_pipeline, test_pipeline = cfg.train_pipeline, cfg.test_pipeline
    train_dataset = cfg.train_dataloader.dataset
    if spec.image_size is not None:
        while "dataset" in train_dataset:  # a demo's epoch is one pass over the pictures
            train_dataset = train_dataset.dataset
        keep_ratio = next(step.get("keep_ratio", False) for step in test_pipeline if step["type"] == "Resize")
        train_pipeline, test_pipeline = _plain_pipelines(
            spec.image_size, keep_ratio=keep_ratio, with_mask=metric == "segm"
        )
    cache_mib = CACHE_MIB // max(1, task.loader_workers)  # each loader has a cache of its own
    train = _dataset(train_dataset, task.train, task.classes, train_pipeline, cache_mib)
    evaluate = _dataset(cfg.val_dataloader.dataset, task.evaluate, task.classes, test_pipeline, cache_mib)
    loader = {"num_workers": task.loader_workers, "persistent_workers": task.loader_workers > 0}
    cfg.train_dataloader = dict(
        batch_size=spec.recipe.batch_size,
        sampler=dict(type="EpochSampler", seed=spec.seed),
        batch_sampler=cfg.train_dataloader.get("batch_sampler"),
        dataset=dict(type="SeededDataset", seed=spec.seed, dataset=train),
        **loader,
    )
    cfg.val_dataloader = dict(
        batch_size=16 if spec.scale == "demo" else 1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=evaluate,
        **loader,
    )
    cfg.val_evaluator = dict(type="UnroundedCocoMetric", ann_file=str(task.evaluate.annotations), metric=metric)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=spec.epochs, val_interval=-(-spec.epochs // spec.evaluations))
    cfg.val_cfg = dict(type="ValLoop")
    # For MMDetection's own tools, on which the stored weights and this configuration load.
    plain = {key: value for key, value in evaluate.items() if key != "cache_mib"} | {"type": "CocoDataset"}
    cfg.test_dataloader = {**cfg.val_dataloader, "dataset": plain}
    cfg.test_evaluator = {**cfg.val_evaluator, "type": "CocoMetric"}
    cfg.test_cfg = dict(type="TestLoop")
    cfg.pop("auto_scale_lr", None)

    cfg.optim_wrapper = _optim_wrapper(cfg.optim_wrapper, spec, task.devices[0])
    cfg.param_scheduler = _schedulers(spec.recipe, spec.epochs)
    cfg.randomness = dict(seed=spec.seed)
    cfg.env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0))
    cfg.device = task.devices[0]
    cfg.work_dir = str(task.folder / "mmengine")
    cfg.custom_hooks = []
    cfg.default_hooks = dict(
        runtime_info=dict(type="RuntimeInfoHook"),
        timer=dict(type="IterTimerHook"),
        sampler_seed=dict(type="DistSamplerSeedHook"),
        logger=dict(type="LoggerHook", interval=50),
        param_scheduler=dict(type="ParamSchedulerHook"),
        checkpoint=None,
    )
    cfg.visualizer = dict(type="Visualizer", vis_backends=[])
    cfg.log_processor = dict(type="LogProcessor", window_size=50, by_epoch=True)
    if is_distributed():
        _share(cfg, spec)
    return cfg


def _share(cfg: Config, spec: RunSpec) -> None:
    """Makes this process one of several that share the run; see ``docs/decisions/007-runs-on-many-devices.md``."""
    cfg.launcher = "pytorch"
    cfg.find_unused_parameters = (
        "mask_head" in cfg.model
    )  # SOLOv2's kernels get no gradient from a part without objects
    cfg.share_batch_norms = spec.scale == "demo"
    cfg.train_dataloader.batch_sampler = dict(type="DealtBatches", grouped=cfg.train_dataloader.batch_sampler)
    cfg.val_evaluator.collect_device = "gpu"  # MMEngine's word for the process group; "cpu" are files in this folder


def set_classes(model: ConfigDict, count: int) -> None:
    for head in ("bbox_head", "mask_head"):
        if head in model:
            model[head].num_classes = count


def _plain_pipelines(
    size: tuple[int, int], *, keep_ratio: bool, with_mask: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Resize, flip, nothing else: a demo's schedule is too short to profit from stronger augmentation."""
    head: list[dict[str, Any]] = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", with_bbox=True, with_mask=with_mask),
        dict(type="Resize", scale=size, keep_ratio=keep_ratio),
    ]
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    return (
        [*head, dict(type="RandomFlip", prob=0.5), dict(type="PackDetInputs")],
        [head[0], head[2], dict(type="LoadAnnotations", with_bbox=True), dict(type="PackDetInputs", meta_keys=keys)],
    )


def _dataset(
    base: Mapping[str, Any], split: Split, classes: tuple[str, ...], pipeline: Any, cache_mib: int
) -> dict[str, Any]:
    """The configuration's own data set, on the split's files; wrappers such as ``RepeatDataset`` are kept."""
    described = dict(base)
    if "ann_file" not in described:
        return {**described, "dataset": _dataset(described["dataset"], split, classes, pipeline, cache_mib)}
    described.update(
        type="CachedCocoDataset",
        cache_mib=cache_mib,
        data_root="",
        ann_file=str(split.annotations),
        data_prefix=dict(img=f"{split.images}/"),
        metainfo=dict(classes=classes),
        pipeline=pipeline,
    )
    return described


def _optim_wrapper(base: Mapping[str, Any], spec: RunSpec, device: str) -> dict[str, Any]:
    recipe = spec.recipe
    if OPTIMIZERS.get(recipe.optimizer) is None:
        raise UserError(f"recipe: torch.optim has no optimizer {recipe.optimizer!r}")
    # torch updates tensor by tensor on a CPU unless told otherwise, which costs a small model a tenth of its step.
    optimizer: dict[str, Any] = dict(
        type=recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay, foreach=True
    )
    if recipe.optimizer == "SGD":
        optimizer["momentum"] = recipe.momentum
    return dict(
        type="PrecisionOptimWrapper",
        constructor="MergingConstructor",
        precision=asdict(spec.precision),
        device=device,
        optimizer=optimizer,
        clip_grad=dict(max_norm=recipe.clip_norm, norm_type=2) if recipe.clip_norm is not None else None,
        paramwise_cfg=base.get("paramwise_cfg"),
    )


def island_members(spec: RunSpec) -> tuple[str, ...]:
    """Members of the FP32 islands that the precision names, groups or members, as `make_islands` takes them."""
    return detector(spec.detector).island_members(spec.precision.fp32_islands)


def _schedulers(recipe: Recipe, epochs: int) -> list[dict[str, Any]]:
    """Warm-up by steps, then decay: after each epoch as in MMDetection, or each step where the schedule is in steps."""
    warmup: dict[str, Any]
    if recipe.warmup == "constant":
        warmup = dict(type="ConstantLR", factor=recipe.warmup_factor)
    else:
        warmup = dict(type="LinearLR", start_factor=recipe.warmup_factor)
    warmup.update(by_epoch=False, begin=0, end=recipe.warmup_steps)
    decay: dict[str, Any]
    if recipe.decay == "cosine":
        decay = dict(type="CosineAnnealingLR", T_max=epochs, eta_min=0.0)
    else:
        decay = dict(type="MultiStepLR", gamma=0.1, milestones=[round(m * epochs) for m in recipe.milestones])
    decay.update(by_epoch=True, begin=0, end=epochs, convert_to_iter_based=recipe.steps is not None)
    return [warmup, decay] if recipe.warmup_steps > 0 else [decay]
