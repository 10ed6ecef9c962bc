"""COCO's AP, fast and unrounded."""

from collections.abc import Sequence
from unittest.mock import patch

from faster_coco_eval import COCOeval_faster
from mmdet.evaluation.metrics import FasterCocoMetric, faster_coco_metric
from mmdet.registry import METRICS

_STATS = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
"""MMDetection's names of the first entries of ``COCOeval.stats``."""


@METRICS.register_module()
class UnroundedCocoMetric(FasterCocoMetric):  # type: ignore[misc]
    """MMDetection's metric on faster-coco-eval, with the digits that it rounds away.

    MMDetection reports AP in thousandths. Between runs that differ by tenths of a point this is a tenth of the
    difference, and equal numbers that are not equal spoil the estimate of a small spread.
    """

    def compute_metrics(self, results: Sequence[object]) -> dict[str, float]:
        """As MMDetection's, ``{metric}_mAP`` and its five companions in full; empty when nothing was detected."""
        evaluations: dict[str, COCOeval_faster] = {}

        class Recorded(COCOeval_faster):  # type: ignore[misc]
            def summarize(self) -> None:
                super().summarize()
                evaluations[self.params.iouType] = self

        with patch.object(faster_coco_metric, "COCOeval_faster", Recorded):
            rounded: dict[str, float] = super().compute_metrics(results)
        full = {
            f"{kind}_{name}": float(evaluation.stats[index])
            for kind, evaluation in evaluations.items()
            for index, name in enumerate(_STATS)
        }
        return {name: full.get(name, value) for name, value in rounded.items()}
