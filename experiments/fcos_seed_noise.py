"""How large a gap does chance alone show? FP32 against FP32 on other seeds, for FCOS-R50.

Hypothesis: none to find; the interval that comes out is what any FP16 gap has to be seen against.
Baseline: strict FP32, the runs of fcos_fp16_sweep.  Cost: about 4 minutes at demo scale on 2 cores.

  python experiments/fcos_seed_noise.py
"""

from workspace.cli import main
from workspace.experiment import Effort, Experiment
from workspace.precision import FP32

EXPERIMENT = Experiment(
    name="fcos_seed_noise",
    detector="fcos",
    baseline=FP32,
    candidate=FP32,
    candidate_seeds_from=100,
    efforts={"demo": Effort(seeds=2, trials=0, margin=1.0), "full": Effort(seeds=5, trials=0, margin=0.2)},
)

if __name__ == "__main__":
    main(EXPERIMENT)
