"""How much of FCOS's published -0.5 AP is its recipe, and how much its precision?

The published FP16 figure (36.1) is of 8 devices with 8 pictures each, at another rate and warm-up than the FP32 figure
(36.6) of 8 with 2. Hypothesis: the recipe is the larger part.  Baseline: 8x2 in strict FP32.  Design: 2x2, recipe by
precision. total is the published difference and the sum of recipe (8x8 - 8x2, mean of both precisions) and precision
(FP16 - FP32, mean of both recipes); interaction is the difference of differences, FP16's cost at 8x8 less that at 8x2.
Cost: about 5 minutes at demo scale on 2 cores, 3 where the 8x2 runs of fcos_fp16_sweep are there.

  python experiments/fcos_gap_attribution.py
  python experiments/fcos_gap_attribution.py --scale full --data /data/coco --device npu
"""

from workspace.cli import main
from workspace.experiment import ArmSpec, Comparison, Effort
from workspace.precision import FP32, LossScale, Precision

FP16 = Precision(name="fp16", loss_scale=LossScale())

COMPARISON = Comparison(
    name="fcos_gap_attribution",
    arms={
        "8x2 fp32": ArmSpec(detector="fcos", recipe="8x2", precision=FP32),
        "8x2 fp16": ArmSpec(detector="fcos", recipe="8x2", precision=FP16),
        "8x8 fp32": ArmSpec(detector="fcos", recipe="8x8", precision=FP32),
        "8x8 fp16": ArmSpec(detector="fcos", recipe="8x8", precision=FP16),
    },
    contrasts={
        "total": {"8x2 fp32": -1, "8x8 fp16": 1},
        "recipe": {"8x2 fp32": -1 / 2, "8x2 fp16": -1 / 2, "8x8 fp32": 1 / 2, "8x8 fp16": 1 / 2},
        "precision": {"8x2 fp32": -1 / 2, "8x2 fp16": 1 / 2, "8x8 fp32": -1 / 2, "8x8 fp16": 1 / 2},
        "interaction": {"8x2 fp32": 1, "8x2 fp16": -1, "8x8 fp32": -1, "8x8 fp16": 1},
    },
    parts={"total": ("recipe", "precision")},
    published={"total": "fcos"},
    efforts={"demo": Effort(seeds=2, margin=1.0), "full": Effort(seeds=5, margin=0.2)},
)

if __name__ == "__main__":
    main(COMPARISON)
