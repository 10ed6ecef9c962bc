"""Is "FP32" on an Ascend A2 or A3 FP32? HF32, their default, against strict FP32, for FCOS-R50.

Convolutions there round their operands to 11 bits of mantissa unless torch.npu.conv.allow_hf32 is set to False, so a
baseline trained without that switch is of another arithmetic than its name, and than a GPU's or a CPU's.
Hypothesis: no gap beyond seed noise; HF32 keeps FP32's range and one bit more than FP16 and TF32 do.
Baseline: strict FP32, the runs of fcos_fp16_sweep.  Cost: about 3 minutes more at demo scale on 2 cores.

  python experiments/fcos_hf32_gap.py
  python experiments/fcos_hf32_gap.py --scale full --device npu --data /data/coco
"""

from workspace.cli import main
from workspace.experiment import Effort, Experiment
from workspace.precision import FP32, Precision

EXPERIMENT = Experiment(
    name="fcos_hf32_gap",
    detector="fcos",
    baseline=FP32,
    candidate=Precision(name="hf32"),
    efforts={"demo": Effort(seeds=2, trials=0, margin=1.0), "full": Effort(seeds=5, trials=0, margin=0.2)},
)

if __name__ == "__main__":
    main(EXPERIMENT)
