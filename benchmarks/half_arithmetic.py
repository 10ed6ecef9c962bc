"""Cost of half arithmetic on a CPU: a training step in FP16 against FP32, and against torch's own half kernels.

Goals: FP16 at most 1.2 times the FP32 step; native half at least 15 times ours (FCOS). The arms take turns within one
process, so that the machine's other load falls on all of them; random weights, two random pictures of 320 x 320 px.

    python benchmarks/half_arithmetic.py --output benchmarks/results/half_arithmetic.md

Torch's own FP16 step takes seconds to minutes, depending on the CPU: oneDNN's weight gradient in FP16 is a reference
kernel, not an optimised one (ONEDNN_VERBOSE=1 names it).
"""

import argparse
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import mmdet
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from torch import nn

from workspace.precision.half import HalfArithmetic

CONFIGS = {
    "FCOS-R50": "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
    "SSDLite": "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py",
}
SIZE = 320
IMAGES = 2


def build(config: str) -> nn.Module:
    model = Config.fromfile(Path(mmdet.__file__).parent / ".mim" / "configs" / config).model
    model.backbone.init_cfg = None
    if model.backbone.get("norm_eval"):
        # Fresh statistics are wrong for random weights, and activations would explode.
        model.backbone.norm_eval = False
        model.backbone.norm_cfg.requires_grad = True
    torch.manual_seed(0)
    detector: nn.Module = MODELS.build(model)
    detector.init_weights()
    return detector.train()


def batch() -> tuple[torch.Tensor, list[DetDataSample]]:
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(IMAGES):
        corner = torch.rand(5, 2, generator=generator) * SIZE / 2
        side = 20 + torch.rand(5, 2, generator=generator) * SIZE / 3
        sample = DetDataSample(
            metainfo={"img_shape": (SIZE, SIZE), "pad_shape": (SIZE, SIZE), "batch_input_shape": (SIZE, SIZE)}
        )
        sample.gt_instances = InstanceData(bboxes=torch.cat([corner, corner + side], dim=1), labels=torch.arange(5))
        samples.append(sample)
    return torch.randn(IMAGES, 3, SIZE, SIZE, generator=generator), samples


def training_step(
    model: nn.Module, autocast: Callable[[], AbstractContextManager[Any]], scale: float
) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scale != 1)
    images, samples = batch()

    def step() -> None:
        optimizer.zero_grad()
        with autocast():
            losses, _ = model.parse_losses(model.loss(images, samples))
        scaler.scale(losses).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def seconds(step: Callable[[], None], arithmetic: AbstractContextManager[Any]) -> float:
    start = time.perf_counter()
    with arithmetic:
        step()
    return time.perf_counter() - start


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def measure(name: str, rounds: int, native_rounds: int) -> Iterator[str]:
    """Rows of the table for one model."""
    half, bf16 = HalfArithmetic(torch.float16), HalfArithmetic(torch.bfloat16)
    saturating = HalfArithmetic(torch.float16, "saturate")
    model = build(CONFIGS[name])
    arms = {
        "FP32": (training_step(model, nullcontext, 1), nullcontext(), rounds),
        "FP16": (training_step(model, half.autocast, 1024), half, rounds),
        "FP16, saturating": (training_step(model, saturating.autocast, 1024), saturating, rounds),
        "BF16": (training_step(model, bf16.autocast, 1), bf16, rounds),
        "BF16, torch's kernels": (training_step(model, bf16.autocast, 1), nullcontext(), rounds),
        "FP16, torch's kernels": (training_step(model, half.autocast, 1024), nullcontext(), native_rounds),
    }
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    for step, arithmetic, turns in arms.values():
        if turns == rounds:  # a warm-up that the slow arm is spared
            seconds(step, arithmetic)
    for turn in range(rounds):
        for arm, (step, arithmetic, turns) in arms.items():
            if turn < turns:
                times[arm].append(seconds(step, arithmetic))
    for arm, taken in times.items():
        if taken:
            ratios = [time / base for time, base in zip(taken, times["FP32"], strict=False)]
            ours = [time / base for time, base in zip(taken, times[arm.split(",")[0]], strict=False)]
            beside = spread(ours) if arm.endswith("torch's kernels") else ""
            yield f"| {name} | {arm} | {len(taken)} | {spread(taken)} | {spread(ratios)} | {beside} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="steps an arm")
    parser.add_argument("--native-rounds", type=int, default=1, help="steps of FCOS with torch's own FP16 kernels")
    parser.add_argument("--output", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    register_all_modules()
    MMLogger.get_instance("mmengine", log_level=logging.WARNING)
    lines = [
        f"# A training step, {IMAGES} pictures of {SIZE} x {SIZE} px",
        "",
        f"`benchmarks/half_arithmetic.py` with torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, "
        f"{torch.get_num_threads()} thread(s) of {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start.",
        "Median (min to max) over the steps; ratios are taken turn by turn.",
        "",
        "| model | arithmetic | steps | seconds | / FP32 | torch's kernels / ours |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for name in CONFIGS:
        for row in measure(name, options.rounds, options.native_rounds if name == "FCOS-R50" else 0):
            lines.append(row)
            print(row, flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
