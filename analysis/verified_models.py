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
# # Does FP16 cost the six verified models AP, where nothing but the precision differs?
#
# `experiments/verified_models.py` at demo scale: small variants with the same necks, heads, assigners and losses,
# trained from scratch on the embedded data, on a CPU whose half arithmetic models the NPU's. Both arms of a row have
# one recipe; FP16 takes the loss scale that was published for the row. The tables are its runs, exported with `python
# -m workspace export verified_models`.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from workspace.detectors import DETECTORS
from workspace.exported import read
from workspace.figures import contrast_intervals, seed_points, training_curves
from workspace.gap import sentence

MARGIN = 1.0  # AP points, stated in the experiment before it ran

tables = read("verified_models")
gaps = {model: tables.gaps(MARGIN, f"{model} fp32", (f"{model} fp16",))[f"{model} fp16"] for model in DETECTORS}
pd.DataFrame(
    {
        model: {
            "published NPU": published.npu.ap,
            "published FP32": published.zoo.ap,
            "FP32": tables.mean_ap(f"{model} fp32"),
            "FP16": tables.mean_ap(f"{model} fp16"),
            "gap": gaps[model].mean,
            "from": gaps[model].low,
            "to": gaps[model].high,
            "verdict": gaps[model].verdict,
        }
        for model, published in DETECTORS.items()
    }
).transpose()

# %% [markdown]
# The published columns are of the full models on COCO; ours are of demo variants on other pictures, so only the *gaps*
# stand beside one another. SOLOv2's AP is of masks.
#
# ## The gaps
#
# Diamonds are the published differences. The shaded band is the margin: a gap whose whole interval lies to the right of
# its left edge is *closed*.

# %%
published = {model: described.npu.ap - described.zoo.ap for model, described in DETECTORS.items()}
figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
contrast_intervals(axes, gaps, published)
plt.show()

# %%
for model, gap in gaps.items():
    print(sentence(gap, candidate=f"{model} in FP16"))

# %% [markdown]
# ## Seeds and training
#
# Each seed's AP, and AP on the evaluation split while training. A thin line joins the two runs of one seed: whether
# they move together is to be seen, not assumed, as rounding parts them within some hundred steps.

# %%
figure, axes = plt.subplots(3, 4, figsize=(16, 11), layout="constrained")
for pair, model in zip(axes.reshape(6, 2), DETECTORS, strict=True):
    arms = (f"{model} fp32", f"{model} fp16")
    seed_points(pair[0], tables.ap(*arms))
    training_curves(pair[1], tables.curve("AP", *arms), "AP (points)")
plt.show()

# %% [markdown]
# ## The answer
#
# What may be concluded is what the sentences say. Two seeds an arm are few: where the verdict is *undecided*, the
# sentence gives the number of further seeds that would decide it, and `--seeds` trains them.
