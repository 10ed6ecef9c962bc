"""The verified detectors: what each one is (``configs/``), how it is trained, and what was published of it.

Published figures: MMDetection's NPU page (``docs/en/device/npu.md``, COCO val2017, box AP in points, mixed precision)
and MMDetection's model zoo (FP32). Full recipes are the zoo's own. Demo variants keep neck, head, assigner and losses,
and are small enough to learn from scratch on one CPU thread.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from workspace.errors import UserError
from workspace.spec import Recipe, Scale

TRAINING = 1
"""Counts changes of our own training code (pipelines, optimizer wrapper, half arithmetic) that change numbers."""

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A detector at one scale.

    Attributes:
        config: file name under ``configs/``; files that it builds on are ``bases``.
        image_size: (width, height) in pixels for the embedded data; ``None`` for the config's own pipeline.
        picture_size: the same for pictures that a user brings, fitted inside with their aspect ratio kept.
        cpu_step_seconds: of an FP32 training step on one thread of a server CPU of 2020, for estimates only.
        repeat: passes over the pictures that the configuration counts as one epoch.
    """

    config: str
    bases: tuple[str, ...] = ()
    recipe: Recipe
    image_size: tuple[int, int] | None = None
    picture_size: tuple[int, int] | None = None
    cpu_step_seconds: float | None = None
    repeat: int = 1


@dataclass(frozen=True, kw_only=True)
class Detector:
    """One of the verified models.

    Attributes:
        metric: MMDetection's key of the AP that is judged.
        npu_ap: AP published for mixed precision on the NPU.
        zoo_ap: AP of MMDetection's FP32 zoo.
        islands: module groups that a precision may keep in FP32. A member is a module's dotted name, or
            ``module:method`` for one method of it (the losses, computed inside the head).
    """

    name: str
    title: str
    metric: str
    npu_ap: float
    zoo_ap: float
    full: Variant
    demo: Variant
    islands: Mapping[str, tuple[str, ...]]

    def variant(self, scale: Scale) -> Variant:
        return self.full if scale == "full" else self.demo

    def config_path(self, scale: Scale) -> Path:
        return CONFIGS / self.variant(scale).config

    def config_digest(self, scale: Scale) -> str:
        """Digest of what a run of this detector is made of: its files, islands, MMDetection's release, our training."""
        variant = self.variant(scale)
        islands = {name: list(members) for name, members in self.islands.items()}
        made_of = [TRAINING, mmdet_version(), variant.repeat, islands]
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode())
        for name in (variant.config, *variant.bases):
            digest.update((CONFIGS / name).read_bytes())
        return digest.hexdigest()[:16]


def mmdet_version() -> str:
    """Version of the installed MMDetection distribution, without importing it."""
    for distribution in ("onedl-mmdetection", "mmdet"):
        try:
            return f"{distribution} {version(distribution)}"
        except PackageNotFoundError:
            continue
    raise UserError("MMDetection is not installed: run `make setup`")


DETECTORS: Mapping[str, Detector] = {
    d.name: d
    for d in (
        Detector(
            name="fcos",
            title="FCOS-R50",
            metric="coco/bbox_mAP",
            npu_ap=36.1,
            zoo_ap=36.6,
            full=Variant(
                config="fcos.py",
                recipe=Recipe(
                    optimizer="SGD",
                    lr=0.01,
                    weight_decay=1e-4,
                    batch_size=16,
                    epochs=12,
                    decay="step",
                    milestones=(8 / 12, 11 / 12),
                    warmup="constant",
                    warmup_steps=500,
                    warmup_factor=1 / 3,
                    clip_norm=35.0,
                ),
            ),
            demo=Variant(
                config="fcos_demo.py",
                bases=("fcos.py",),
                image_size=(96, 96),
                picture_size=(160, 160),
                cpu_step_seconds=0.075,
                recipe=Recipe(
                    optimizer="AdamW",
                    lr=3e-3,
                    weight_decay=0.05,
                    batch_size=8,
                    steps=1200,
                    decay="cosine",
                    warmup_steps=120,
                    warmup_factor=0.04,
                    clip_norm=10.0,
                ),
            ),
            islands={
                "backbone": ("backbone",),
                "neck": ("neck",),
                "head": ("bbox_head",),
                "predictors": ("bbox_head.conv_cls", "bbox_head.conv_reg", "bbox_head.conv_centerness"),
                "loss": ("bbox_head:loss_by_feat",),
            },
        ),
        Detector(
            name="ssdlite",
            title="SSDLite-MobileNetV2",
            metric="coco/bbox_mAP",
            npu_ap=20.2,
            zoo_ap=21.3,
            full=Variant(
                config="ssdlite.py",
                repeat=5,
                recipe=Recipe(
                    optimizer="SGD",
                    lr=0.015,
                    weight_decay=4e-5,
                    batch_size=192,
                    epochs=120,
                    decay="cosine",
                    warmup_steps=500,
                    warmup_factor=0.001,
                ),
            ),
            demo=Variant(
                config="ssdlite_demo.py",
                bases=("ssdlite.py",),
                image_size=(128, 128),
                picture_size=(256, 256),
                cpu_step_seconds=0.25,
                recipe=Recipe(
                    optimizer="AdamW",
                    lr=4e-3,
                    weight_decay=0.01,
                    batch_size=8,
                    steps=1000,
                    decay="cosine",
                    warmup_steps=100,
                    warmup_factor=0.04,
                    clip_norm=10.0,
                ),
            ),
            islands={
                "backbone": ("backbone",),
                "neck": ("neck",),
                "head": ("bbox_head",),
                "loss": ("bbox_head:loss_by_feat",),
            },
        ),
    )
}


def detector(name: str) -> Detector:
    """The detector of that name; `UserError` when there is none."""
    try:
        return DETECTORS[name]
    except KeyError:
        raise UserError(f"no detector named {name!r}: choose one of {', '.join(DETECTORS)}") from None
