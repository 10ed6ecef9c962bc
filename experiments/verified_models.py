"""Does FP16 cost the six verified models AP, where nothing but the precision differs?

Hypothesis: the published table (FP16 on the NPU, FP32 in MMDetection's zoo) has a gap to explain in two rows,
SSDLite's and FCOS's, and FCOS's is of its recipe.  Baseline: each model's default recipe in strict FP32; FP16 takes the
same recipe with the published loss scale (docs/decisions/008).  Cost: 25 to 45 minutes at demo scale on 2 cores.

  python experiments/verified_models.py --json verified_models.json
  python experiments/verified_models.py --scale full --data /data/coco --device npu
"""

from workspace.cli import main
from workspace.detectors import DETECTORS
from workspace.experiment import ArmSpec, Comparison, Effort
from workspace.precision import FP32, Precision

COMPARISON = Comparison(
    name="verified_models",
    arms={
        f"{model} {precision.name}": ArmSpec(detector=model, precision=precision)
        for model, detector in DETECTORS.items()
        for precision in (FP32, Precision(name="fp16", loss_scale=detector.npu.loss_scale))
    },
    contrasts={model: {f"{model} fp32": -1, f"{model} fp16": 1} for model in DETECTORS},
    published={model: model for model in DETECTORS},
    efforts={"demo": Effort(seeds=2, margin=1.0), "full": Effort(seeds=5, margin=0.2)},
)

if __name__ == "__main__":
    main(COMPARISON)
