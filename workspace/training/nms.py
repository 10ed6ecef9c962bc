"""Non-maximum suppression where mmcv's operators were compiled for another device than the one that trains.

mmcv compiles its operators for an NPU only when it is told to (``FORCE_NPU=1``), and the six detectors need NMS alone
of them, in the evaluation. Without it the boxes of a picture, a few hundred after the score threshold, are suppressed
on the CPU by the same compiled operator as a CPU run's. It is said in the log, in the audit and by ``python -m
workspace doctor`` (docs/decisions/012-nms-on-the-cpu.md).
"""

import logging
from typing import Any

import torch
from mmcv.ops import batched_nms
from mmdet.models.dense_heads import base_dense_head

_log = logging.getLogger(__name__)


def suppress_where_possible(device: str) -> str:
    """Lets MMDetection's heads suppress on that torch device if mmcv can, else on the CPU; returns the device's kind.

    It holds for this process, which trains or evaluates on one device.
    """
    kind = torch.device(device).type
    if has_nms(device):
        base_dense_head.batched_nms = batched_nms
        return kind
    _log.warning("mmcv has no NMS for %s: boxes are suppressed on the CPU", kind)
    base_dense_head.batched_nms = _on_cpu
    return "cpu"


def has_nms(device: str) -> bool:
    """Whether mmcv's compiled NMS works on that torch device: of three boxes it keeps the two that it should."""
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [20.0, 20.0, 30.0, 30.0]], device=device)
    scores = torch.tensor([0.9, 0.8, 0.7], device=device)
    try:
        _, kept = batched_nms(boxes, scores, torch.zeros_like(scores), dict(type="nms", iou_threshold=0.5))
        indices: list[int] = kept.tolist()  # waits for what an NPU was told to do
    except (RuntimeError, NotImplementedError):  # no kernel is registered, or not for this type of tensor
        return False
    return indices == [0, 2]


def _on_cpu(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, *args: Any, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    kept, indices = batched_nms(boxes.cpu(), scores.cpu(), labels.cpu(), *args, **kwargs)
    return kept.to(boxes.device), indices.to(boxes.device)
