"""What does FP16 cost SSDLite-MobileNetV2, and does a tuned recipe win it back?

Hypothesis: the published gap (20.2 against 21.3 box AP on COCO) closes with another loss scale, rate or FP32 islands.
Baseline: the same recipe in strict FP32.  Cost: about 12 minutes at demo scale on 2 cores.

  python experiments/ssdlite_fp16_sweep.py
  python experiments/ssdlite_fp16_sweep.py --scale full --data /data/coco --device npu
"""

from workspace.cli import main
from workspace.experiment import Effort, Experiment
from workspace.precision import FP32, LossScale, Precision
from workspace.search.spaces import fp16_recipe

EXPERIMENT = Experiment(
    name="ssdlite_fp16_sweep",
    detector="ssdlite",
    baseline=FP32,
    candidate=Precision(name="fp16", loss_scale=LossScale()),
    space=fp16_recipe("loss", "head"),
    efforts={"demo": Effort(seeds=2, trials=4, margin=1.0), "full": Effort(seeds=5, trials=24, margin=0.2)},
)

if __name__ == "__main__":
    main(EXPERIMENT)
