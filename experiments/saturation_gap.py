"""What does FP16 cost SSDLite and FCOS where overflow gives inf, and where it saturates as on the Ascend 910A?

The published FP16 figures, 20.2 and 36.1 against 21.3 and 36.6 in FP32, are most likely of the 910A, whose Cube clamps
what does not fit to 65504 and lets a step go on that inf_nan would skip. Both models were published with a dynamic loss
scale, and it is the same here. Hypothesis: saturation costs AP that inf_nan does not.
Baseline: the default recipe in strict FP32.  Cost: about 40 minutes at demo scale on 2 cores.

  python experiments/saturation_gap.py
  python experiments/saturation_gap.py --scale full --data /data/coco --device npu
"""

from workspace.cli import main
from workspace.detectors import DETECTORS
from workspace.experiment import ArmSpec, Comparison, Effort
from workspace.precision import FP32, Precision

MODELS = ("ssdlite", "fcos")

COMPARISON = Comparison(
    name="saturation_gap",
    arms={
        f"{model} {name}": ArmSpec(detector=model, precision=precision)
        for model in MODELS
        for name, precision in {
            "fp32": FP32,
            "inf_nan": Precision(name="fp16", loss_scale=DETECTORS[model].npu.loss_scale),
            "saturate": Precision(name="fp16", loss_scale=DETECTORS[model].npu.loss_scale, overflow="saturate"),
        }.items()
    },
    contrasts={
        f"{model} {name}": {f"{model} fp32": -1, f"{model} {name}": 1}
        for model in MODELS
        for name in ("inf_nan", "saturate")
    },
    efforts={"demo": Effort(seeds=4, margin=1.0), "full": Effort(seeds=5, margin=0.2)},
)

if __name__ == "__main__":
    main(COMPARISON)
