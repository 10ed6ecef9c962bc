"""What is known of a detector: its configurations, its recipes, and what was published of it."""

import hashlib
import io
import json
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from workspace.detectors.weights import BackboneWeights
from workspace.errors import UserError
from workspace.precision import LossScale
from workspace.spec import Recipe, Scale

TRAINING = 2
"""Counts changes of our own training code (pipelines, optimizer wrapper, half arithmetic) that change numbers."""

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A detector at one scale.

    Attributes:
        config: file name under ``configs/``, or an absolute path; files that it builds on are ``bases``.
        recipes: by name; the first is what an experiment uses when it names none.
        image_size: (width, height) in pixels for the embedded data; ``None`` for the config's own pipeline.
        picture_size: the same for pictures that a user brings. Pictures are stretched to it or fitted inside, as the
            config's own pipeline does.
        cpu_step_seconds: of an FP32 training step on one thread of a server CPU of 2020, for estimates only.
        repeat: passes over the pictures that the configuration counts as one epoch.
        weights: that the backbone starts from; ``None`` for training from scratch.
    """

    config: str
    bases: tuple[str, ...] = ()
    recipes: Mapping[str, Recipe]
    image_size: tuple[int, int] | None = None
    picture_size: tuple[int, int] | None = None
    cpu_step_seconds: float | None = None
    repeat: int = 1
    weights: BackboneWeights | None = None

    @property
    def recipe(self) -> Recipe:
        """The default recipe."""
        return next(iter(self.recipes.values()))

    def recipe_named(self, name: str | None) -> Recipe:
        """The recipe of that name, the default one for ``None``; `UserError` when there is none."""
        if name is None:
            return self.recipe
        try:
            return self.recipes[name]
        except KeyError:
            raise UserError(f"{self.config}: no recipe {name!r}; it has {', '.join(self.recipes)}") from None


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published training result on COCO.

    Attributes:
        ap: AP on val2017 in points, of `Detector.metric`.
        config: MMDetection's file that it was trained with; the NPU's are names of MMDetection 2.
        recipe: which of the full variant's recipes that is.
        loss_scale: in mixed precision.
    """

    ap: float
    config: str
    recipe: str
    loss_scale: LossScale | None = None


@dataclass(frozen=True, kw_only=True)
class Detector:
    """One of the verified models.

    Attributes:
        metric: MMDetection's key of the AP that is judged.
        npu: mixed precision on the NPU (MMDetection's ``docs/en/device/npu.md``).
        zoo: FP32 on NVIDIA GPUs (MMDetection's model zoo).
        islands: module groups that a precision may keep in FP32. A member is a module's dotted name, or
            ``module:method`` for one method of it (the losses, computed inside the head).
    """

    name: str
    title: str
    metric: str
    npu: Published
    zoo: Published
    full: Variant
    demo: Variant
    islands: Mapping[str, tuple[str, ...]]

    def variant(self, scale: Scale) -> Variant:
        return self.full if scale == "full" else self.demo

    def config_path(self, scale: Scale) -> Path:
        return CONFIGS / self.variant(scale).config

    def island_members(self, names: Iterable[str]) -> tuple[str, ...]:
        """Members of the FP32 islands of those names: groups of `islands`, or members themselves.

        Whether the model has a member that no group lists is told where the islands are made.

        Raises:
            UserError: a name is no group, and cannot be a member.
        """
        modules = {re.split("[.:]", member)[0] for members in self.islands.values() for member in members}
        names = tuple(names)
        unknown = {name for name in names if name not in {*self.islands, *modules} and not re.search("[.:]", name)}
        if unknown:
            raise UserError(
                f"{self.name} has no FP32 island {', '.join(sorted(unknown))}: use {', '.join(self.islands)}, "
                "or a module's dotted name or module:method"
            )
        return tuple(dict.fromkeys(member for name in names for member in self.islands.get(name, (name,))))

    def config_digest(self, scale: Scale) -> str:
        """Digest of what a run of this detector is made of.

        That is what its configuration files state, its islands and backbone weights, MMDetection's release and our own
        training code.
        """
        variant = self.variant(scale)
        islands = {name: list(members) for name, members in self.islands.items()}
        made_of = [TRAINING, mmdet_version(), variant.repeat, islands]
        if variant.weights is not None:
            made_of.append(variant.weights.file)  # the name carries the checksum
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode())
        for name in (variant.config, *variant.bases):
            digest.update(_statements((CONFIGS / name).read_text()))
        return digest.hexdigest()[:16]


@lru_cache(64)  # a plan asks for each of its runs
def _statements(source: str) -> bytes:
    """What a configuration file says, its comments and layout left out: they are no change of a run."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return "\n".join(token.string for token in tokens if token.type not in layout).encode()


@cache
def mmdet_version() -> str:
    """Version of the installed MMDetection distribution, without importing it."""
    for distribution in ("onedl-mmdetection", "mmdet"):
        try:
            return f"{distribution} {version(distribution)}"
        except PackageNotFoundError:
            continue
    raise UserError("MMDetection is not installed: run `make setup`")
