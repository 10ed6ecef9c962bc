"""COCO's AP, fast and unrounded."""

from collections.abc import Mapping, Sequence
from unittest.mock import patch

import numpy as np
from faster_coco_eval import COCOeval_faster
from mmdet.evaluation.metrics import FasterCocoMetric, faster_coco_metric
from mmdet.registry import METRICS
from numpy.typing import NDArray

_AP_FIGURES = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
_AR_FIGURES = ("AR@100", "AR@300", "AR@1000", "AR_s@1000", "AR_m@1000", "AR_l@1000")
"""MMDetection's names of ``COCOeval.stats``, in its order."""


@METRICS.register_module()
class UnroundedCocoMetric(FasterCocoMetric):  # type: ignore[misc]
    """MMDetection's metric on faster-coco-eval, with the digits that it rounds away.

    MMDetection reports AP in thousandths. Between runs that differ by tenths of a point this is a tenth of the
    difference, and equal numbers that are not equal spoil the estimate of a small spread.

    Attributes:
        evaluations: the last ones, by kind (``bbox`` or ``segm``); empty when nothing was detected.
    """

    evaluations: Mapping[str, COCOeval_faster] = {}

    def compute_metrics(self, results: Sequence[object]) -> dict[str, float]:
        """As MMDetection's, ``{metric}_mAP`` and its five companions in full; empty when nothing was detected."""
        evaluations: dict[str, COCOeval_faster] = {}

        class Recorded(COCOeval_faster):  # type: ignore[misc]
            def summarize(self) -> None:
                super().summarize()
                evaluations[self.params.iouType] = self

        with patch.object(faster_coco_metric, "COCOeval_faster", Recorded):
            rounded: dict[str, float] = super().compute_metrics(results)
        self.evaluations = evaluations
        return self.reported(rounded, evaluations)

    def reported(self, rounded: Mapping[str, float], evaluations: Mapping[str, COCOeval_faster]) -> dict[str, float]:
        """The metrics of these evaluations (by kind, ``bbox`` or ``segm``), given MMDetection's."""
        full = {
            f"{kind}_{name}": float(evaluation.stats[index])
            for kind, evaluation in evaluations.items()
            for index, name in enumerate(_AP_FIGURES)
        }
        return {name: full.get(name, value) for name, value in rounded.items()}


@METRICS.register_module()
class DetailedCocoMetric(UnroundedCocoMetric):
    """All twelve figures, and the six of AP for each class under ``{metric}_{figure}/{class}``; -1 for nothing to find.

    They are pycocotools' under MMDetection's limits of 100, 300 and 1000 detections of a class in a picture:
    ``mAP`` counts the best 100, its companions all. faster-coco-eval's summary counts all for ``mAP`` too.
    """

    def reported(self, rounded: Mapping[str, float], evaluations: Mapping[str, COCOeval_faster]) -> dict[str, float]:
        metrics = dict(super().reported(rounded, evaluations))
        for kind, evaluation in evaluations.items():
            precision = evaluation.eval["precision"]
            figures = ap_figures(precision) | dict(zip(_AR_FIGURES, map(float, evaluation.stats[6:]), strict=True))
            metrics |= {f"{kind}_{name}": value for name, value in figures.items()}
            for index, key in enumerate(evaluation.params.catIds):
                category = self._coco_api.cats[key]["name"]
                of_class = ap_figures(precision[:, :, [index]])
                metrics |= {f"{kind}_{name}/{category}": value for name, value in of_class.items()}
        return metrics


def ap_figures(precision: NDArray[np.float64]) -> dict[str, float]:
    """The six figures of AP, by MMDetection's names.

    Args:
        precision: as ``COCOeval.eval["precision"]``, (IoU thresholds, recalls, classes, areas, limits of detections):
            thresholds from 0.5 in steps of 0.05; areas all, small, medium, large; limits rising. -1 where undefined.
    """
    best, every = precision[..., 0], precision[..., -1]
    parts = (best[..., 0], every[0, ..., 0], every[5, ..., 0], *(every[..., area] for area in (1, 2, 3)))
    return {
        name: float(part[part > -1].mean()) if (part > -1).any() else -1.0
        for name, part in zip(_AP_FIGURES, parts, strict=True)
    }
