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
# # What does FP16 cost FCOS, and does a tuned recipe win it back?
#
# A demo-scale sweep of `experiments/fcos_fp16_sweep.py` on the embedded data, on a CPU whose half arithmetic models the
# NPU's. The tables are its runs, exported with `python -m workspace export fcos_fp16_sweep`.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from workspace.figures import gap_intervals, search_history, seed_points, training_curves
from workspace.gap import measure_gap, sentence

DATA = next(folder for folder in (Path("data"), Path("analysis/data")) if folder.is_dir())
MARGIN = 1.0  # AP points, stated in the experiment before it ran

runs = pd.read_csv(DATA / "fcos_fp16_sweep.runs.csv")
curves = pd.read_csv(DATA / "fcos_fp16_sweep.curves.csv")
runs[["run_name", "precision", "lr", "warmup_steps", "clip_norm", "weight_decay", "loss_scale", "fp32_islands", "AP"]]

# %% [markdown]
# ## The gap
#
# Each arm was trained on the same seeds, which no trial of the search had used, and evaluated in FP32 on pictures that
# neither training nor search had seen. The shaded band is the margin: a gap whose whole interval lies to the right of
# its left edge is *closed*.

# %%
verdict_runs = runs[runs["arm"].isin(["baseline", "default", "tuned"])]
arms = {arm: group.set_index("seed")["AP"].to_dict() for arm, group in verdict_runs.groupby("arm")}
arms = {arm: arms[arm] for arm in ("baseline", "default", "tuned") if arm in arms}
gaps = {arm: measure_gap(arms["baseline"], values, MARGIN) for arm, values in arms.items() if arm != "baseline"}

figure, axes = plt.subplots(1, 2, figsize=(12, 3.6), layout="constrained")
gap_intervals(axes[0], gaps)
seed_points(axes[1], arms)
plt.show()

# %%
for arm, gap in gaps.items():
    print(sentence(gap, candidate=f"FP16 with the {arm} recipe"))

# %% [markdown]
# ## Training
#
# AP on the evaluation split, and the loss scale. Where the scale falls, a step overflowed and was skipped.

# %%
arm_curves = curves[curves["arm"].isin(arms)]
figure, axes = plt.subplots(1, 2, figsize=(12, 3.6), layout="constrained")
training_curves(axes[0], arm_curves[arm_curves["metric"] == "AP"], "AP (points)")
scales = arm_curves[arm_curves["metric"] == "precision/loss_scale"]
training_curves(axes[1], scales, "loss scale", log2=True)
plt.show()

# %% [markdown]
# ## The search
#
# Each trial is one run with a seed of its own, judged on the search split. Trial 0 is the default recipe.

# %%
trials = runs[runs["phase"] == "search"].rename(columns={"trial": "number", "AP": "value"})
figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
search_history(axis, trials)
plt.show()

# %% [markdown]
# ## The answer
#
# What may be concluded is what the sentences above say, at demo scale: a small detector, two seeds an arm, one
# set of pictures. *Undecided* means that the interval still holds gaps on both sides of the margin; the number of
# further seeds that would decide it stands in the sentence, and `--seeds` trains them. A tuned arm that comes out
# above the baseline has gained from tuning, which the baseline was not given: it does not show that FP16 is
# better. The published gap is of the full model on COCO: `python experiments/fcos_fp16_sweep.py --scale full
# --data DIR` asks it there.
