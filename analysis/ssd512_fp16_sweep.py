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
# # What does FP16 cost SSD512, and does a tuned recipe win it back?
#
# A demo-scale sweep of `experiments/ssd512_fp16_sweep.py` on the embedded data, on a CPU whose half arithmetic models
# the NPU's. Published on COCO: 29.4 in mixed precision on the NPU, 29.5 in FP32. The tables are its runs, exported with
# `python -m workspace export ssd512_fp16_sweep`.

# %%
import matplotlib.pyplot as plt

from workspace.exported import read
from workspace.figures import gap_intervals, search_history, seed_points, training_curves
from workspace.gap import sentence

MARGIN = 1.0  # AP points, stated in the experiment before it ran
ARMS = ("baseline", "default", "tuned")

sweep = read("ssd512_fp16_sweep")
sweep.runs[["run_name", "lr", "warmup_steps", "clip_norm", "weight_decay", "loss_scale", "fp32_islands", "AP"]]

# %% [markdown]
# ## The gap
#
# Each arm was trained on the same seeds, which no trial of the search had used, and evaluated in FP32 on pictures that
# neither training nor search had seen. The shaded band is the margin: a gap whose whole interval lies to the right of
# its left edge is *closed*.

# %%
gaps = sweep.gaps(MARGIN)

figure, axes = plt.subplots(1, 2, figsize=(12, 3.6), layout="constrained")
gap_intervals(axes[0], gaps)
seed_points(axes[1], sweep.ap(*ARMS), "AP (points)")
plt.show()

# %%
for arm, gap in gaps.items():
    print(sentence(gap, candidate=f"FP16 with the {arm} recipe"))

# %% [markdown]
# ## Training and search
#
# AP on the evaluation split while training; the loss scale, where a fall is a step that overflowed and was skipped; and
# the trials, each one run with a seed of its own, judged on the search split. Trial 0 is the default recipe.

# %%
figure, axes = plt.subplots(1, 3, figsize=(15, 3.8), layout="constrained")
training_curves(axes[0], sweep.curve("AP", *ARMS), "AP (points)")
training_curves(axes[1], sweep.curve("precision/loss_scale", *ARMS), "loss scale", log2=True)
search_history(axes[2], sweep.trials)
plt.show()

# %% [markdown]
# ## The answer
#
# What may be concluded is what the sentences above say, of a small detector on one set of pictures with two seeds an
# arm. *Undecided* means that the interval still holds gaps on both sides of the margin; the number of further seeds
# that would decide it stands in the sentence, and `--seeds` trains them. The tuned arm was given trials that the
# baseline was not: where it comes out above, tuning has gained that, not FP16.
