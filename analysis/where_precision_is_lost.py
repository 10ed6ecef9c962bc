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
# # Where is precision lost in FP16?
#
# `python -m workspace diagnose MODEL` takes one training step of a detector, with the same weights on the same
# pictures, and computes it again and again: all in FP32, all in FP16, and in between, with one part of the network at
# a time in the other precision. What it looks at is not the loss but the **update**: what the optimizer adds to the
# weights in that step. Here are four such diagnoses, of demo-scale detectors that were trained in FP32 on the
# embedded data, with the CPU's model of an Ascend NPU's arithmetic.
#
# Three words before the pictures:
#
# * The **error** of an update is how much of it is wrong, 0 (as in FP32) to 1 (nothing is right, or the step was
#   skipped), over all layers alike.
# * **Another batch** of pictures changes an update too. An error that is far below that is noise: it is as if a batch
#   had two pictures in a hundred less.
# * A **cause** is what the error goes away with when it alone is computed in FP32, *and* appears with when it alone
#   is in FP16. Both are needed: errors echo through a network, and can be seen far from where they are made.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from workspace.exported import TABLES
from workspace.figures import network_by_depth, network_over_time, shares_of_error

pd.set_option("display.max_colwidth", 100)
folder = TABLES / "where_precision_is_lost"
diagnoses = pd.read_csv(folder / "diagnoses.csv")
members = {name: pd.read_csv(folder / f"{name}.members.csv") for name in diagnoses["name"]}
causes = {name: pd.read_csv(folder / f"{name}.causes.csv") for name in diagnoses["name"]}
diagnoses[["name", "weights", "loss_scale", "update", "gradient", "another_batch", "noise"]]

# %% [markdown]
# `update` is the error of the update, `another_batch` what other pictures change; `loss_scale` is the one that the
# run settles on.
#
# ## A trained detector in plain FP16
#
# Each point is a layer, from the picture on the left to the loss on the right. The dashed line is what one rounding
# to FP16 costs. The black line says that every layer does just that and no more: none of them is broken in FP16. The
# blue line is what has come together up to there, and the red one what comes back as the gradient. In FCOS that is
# off already in the branch of the head that predicts boxes (`reg_convs`, `conv_reg`): their sides are exponentials of
# FP16 numbers. In SSDLite it gathers on the long way back to the picture.

# %%
figure, axes = plt.subplots(2, 1, figsize=(12, 8), layout="constrained")
for ax, name in zip(axes, ("fcos", "ssdlite"), strict=True):
    network_by_depth(ax, members[name], causes[name]["where"])
    ax.set_title(name, loc="right")
plt.show()

# %% [markdown]
# Neither has a cause to name. The gradients of single layers are off by some percent, which is little beside what the
# choice of pictures does. That agrees with their AP: no FP16 gap could be seen in either (`docs/findings.md`).

# %%
for _, found in diagnoses[diagnoses["name"].isin(["fcos", "ssdlite"])].iterrows():
    part = found["update"] / found["another_batch"]
    print(f"{found['name']}: the error of the update is {part:.1%} of what another batch changes")

# %% [markdown]
# ## The same detector with a loss scale that is too small
#
# FP16 knows no number between 0 and 6e-8. Gradients are often smaller, which is why the loss is multiplied before the
# backward pass. Here it is multiplied by 0.001.

# %%
figure, axes = plt.subplots(1, 2, figsize=(14, 4.5), width_ratios=(2.2, 1), layout="constrained")
network_by_depth(axes[0], members["fcos_scale"])
shares_of_error(axes[1], causes["fcos_scale"])
plt.show()

# %%
for _, cause in causes["fcos_scale"].iterrows():
    print(f"{cause['cause']}, {cause['share']:.0%} of the update's error: {cause['evidence']}")

# %% [markdown]
# The forward pass is as good as before, and so is what each layer makes of its input. But from the head on, down to
# the picture, the gradient is lost (a relative error of 1): those layers learn nothing. Where errors are seen, nearly
# the whole network would be blamed. Mending the loss scale alone takes the error away, so that is the cause, and the
# layers are its echo.

# %% [markdown]
# ## The same detector with one layer that cannot bear FP16
#
# Here the loss scale is the usual one, and a GroupNorm of the head was exchanged for one written by hand, that sums
# its squares in the type it is given. In FP16 such a sum ends at 65504. (It is the kind of patch that
# `tests/diagnosis/test_diagnosis.py` plants.)

# %%
figure, axes = plt.subplots(1, 2, figsize=(14, 4.5), width_ratios=(2.2, 1), layout="constrained")
network_by_depth(axes[0], members["fcos_norm"], causes["fcos_norm"]["where"])
shares_of_error(axes[1], causes["fcos_norm"])
plt.show()

# %%
for _, cause in causes["fcos_norm"].iterrows():
    print(f"{cause['cause']}, {cause['share']:.0%} of the update's error: {cause['evidence']}")

# %% [markdown]
# Now the black line stands out at that one layer, and both bars are long: in FP32 it takes the error away, in FP16 it
# alone brings it back. As an FP32 island it costs nothing: a normalisation multiplies no matrices.
#
# ## Along a training
#
# The error of the gradient by layer (from the picture at the top to the head at the bottom) while SSDLite is trained
# on in FP16. Bright is bad. The dark bands at the bottom are coarse levels without any gradient, in FP32 as in FP16;
# white, where only FP32 has none.

# %%
figure, ax = plt.subplots(figsize=(9, 5), layout="constrained")
network_over_time(ax, pd.read_csv(folder / "ssdlite.moments.csv"))
plt.show()
