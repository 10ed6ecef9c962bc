# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Is "FP32" on an Ascend A2 or A3 FP32? HF32 against strict FP32, for FCOS-R50
#
# A demo-scale run of `experiments/fcos_hf32_gap.py` on the embedded data, on a CPU whose HF32 models the NPU's:
# operands of convolutions with 11 bits of mantissa instead of 23, in both passes, and everything else in FP32. That is
# what an A2 or A3 does to "FP32" unless it is told otherwise, so it is what a baseline there is made of when nobody
# looks. The tables are its runs, exported with `python -m workspace export fcos_hf32_gap`.

# %%
import matplotlib.pyplot as plt

from workspace.exported import read
from workspace.figures import gap_intervals, seed_points, training_curves
from workspace.gap import sentence

MARGIN = 1.0  # AP points, stated in the experiment before it ran
ARMS = ("baseline", "default")

compared = read("fcos_hf32_gap")
compared.runs[["run_name", "precision", "seed", "lr", "AP"]]

# %% [markdown]
# ## The gap
#
# Both arms are evaluated in strict FP32: the gap is what HF32 does to training. A gap whose whole interval lies to the
# right of the shaded margin's left edge is *closed*.

# %%
gaps = compared.gaps(MARGIN)

figure, axes = plt.subplots(1, 3, figsize=(15, 3.6), layout="constrained")
gap_intervals(axes[0], gaps)
seed_points(axes[1], compared.ap(*ARMS), "AP (points)")
training_curves(axes[2], compared.curve("AP", *ARMS), "AP (points)")
plt.show()

# %%
for gap in gaps.values():
    print(sentence(gap, candidate="HF32"))

# %% [markdown]
# ## The answer
#
# What the sentence above says, of a small detector with two seeds an arm, on a model of the hardware: no loss of a
# point or more to be seen at this scale. A margin of 0.2, as for COCO, would take more seeds than these to decide.
# The audit of each run says which of the two its convolutions were.
