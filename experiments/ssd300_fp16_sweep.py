"""What does FP16 cost SSD300, and does a tuned recipe win it back?

Hypothesis: no gap to close: the published figures (25.6 against 25.5 box AP on COCO) differ by less than seeds do.
Baseline: the same recipe in strict FP32.  Cost: about 9 minutes at demo scale on 2 cores.

  python experiments/ssd300_fp16_sweep.py
  python experiments/ssd300_fp16_sweep.py --scale full --data /data/coco --device npu
"""

from workspace.cli import main
from workspace.experiment import Effort, Experiment
from workspace.precision import FP32, LossScale, Precision
from workspace.search.spaces import fp16_recipe

EXPERIMENT = Experiment(
    name="ssd300_fp16_sweep",
    detector="ssd300",
    baseline=FP32,
    candidate=Precision(name="fp16", loss_scale=LossScale()),
    space=fp16_recipe("loss", "head"),
    efforts={"demo": Effort(seeds=2, trials=4, margin=1.0), "full": Effort(seeds=5, trials=24, margin=0.2)},
)

if __name__ == "__main__":
    main(EXPERIMENT)
