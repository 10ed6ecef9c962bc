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
# A detector that is trained in FP16 may learn less than in FP32. Then the question is *through what*: a layer, the
# loss scale, the optimizer? `python -m workspace diagnose MODEL` answers it. It takes one training step, with the same
# weights on the same pictures, and computes it again and again: all in FP32, all in FP16, and in between, with one
# part of the network at a time in the other precision. What it looks at is not the loss but the **update**, which is
# what the optimizer adds to the weights in that step.
#
# This notebook shows seven such diagnoses, with the CPU's model of an Ascend NPU's arithmetic. They are of three
# kinds:
#
# 1. **Trained demo detectors**, in plain FP16 and with a setting that is wrong. What does a sound network look like?
# 2. **Planted causes**: small detectors with one part that cannot bear FP16. Is it found, and does mending it win the
#    AP back?
# 3. **The real FCOS-R50 and SSDLite at full input size**, with fresh weights.
#
# Four words before the pictures:
#
# * The **error** of an update is how much of it is wrong: 0 is as in FP32, 1 is that nothing is right or the step was
#   skipped. All layers count alike.
# * **Another batch** of pictures changes an update too. An error below 2 % of that is called *noise*: it is as if a
#   batch had two pictures in a hundred less.
# * A **cause** is what the error goes away with when it alone is computed in FP32, *and* is there with when it alone
#   is in FP16. Both are needed, because errors echo through a network and can be seen far from where they are made.
# * An **FP32 island** is a part of the network that is kept in FP32 in an FP16 run.
#
# `docs/diagnosis.md` has the method in full. The tables were made by one command, which is at the end.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from workspace.exported import TABLES, Exported, read_diagnosis
from workspace.figures import network_by_depth, network_over_time, seed_points, shares_of_error
from workspace.figures.style import BLACK, BLUE, VERMILION
from workspace.gap import sentence

pd.set_option("display.max_colwidth", 100)
NAMES = ("fcos", "ssdlite", "fcos_scale", "two_moments_norm", "scene_coordinates", "fcos_full", "ssdlite_full")
found = {name: read_diagnosis(TABLES / "where_precision_is_lost" / name) for name in NAMES}
overview = pd.concat({name: diagnosis.diagnosis for name, diagnosis in found.items()}).droplevel(1)
overview[["weights", "pictures", "loss_scale", "update", "another_batch", "skipped", "noise"]]

# %% [markdown]
# One row a diagnosis: `update` is the error of the update, `another_batch` what other pictures change of it,
# `loss_scale` the one that the run settles on, and `skipped` whether the step overflows at it, so that the optimizer
# does nothing.
#
# ## 1. Trained demo detectors
#
# ### In plain FP16
#
# How to read the picture: each point is a layer, from the picture on the left to the loss on the right, and a height
# is a relative error against FP32 (0.01 is one percent).
#
# * **made here** (black squares): what the layer adds itself, when it is given FP32's own input. The dashed line is
#   what one rounding to FP16 costs at most. Near it, the layer does just that and no more: nothing in it is broken in
#   FP16.
# * **output** (blue circles): what has come together up to there, from the left.
# * **gradient** (orange-red triangles): the error of what comes back to there in the backward pass, from the right.
#
# Where a point is missing, there is no error, or no gradient comes back.

# %%
figure, axes = plt.subplots(2, 1, figsize=(12, 8.5), layout="constrained")
for ax, name in zip(axes, ("fcos", "ssdlite"), strict=True):
    network_by_depth(ax, found[name].members, found[name].causes["where"])
    ax.set_title(f"{name}, trained", loc="right")
plt.show()

# %% [markdown]
# No layer is broken: all black points lie at one rounding. In FCOS the gradient is off from the branch of the head
# that predicts boxes (`reg_convs`, `conv_reg`), whose sides are exponentials of FP16 numbers. In SSDLite it gathers on
# the long way back to the picture.
#
# Gradients of single layers are off by some percent. That is little beside what the choice of pictures does, so
# neither has a cause to name. It agrees with their AP: no FP16 gap could be seen in either (`docs/findings.md`).

# %%
for name in ("fcos", "ssdlite"):
    part, causes = found[name].against_another_batch, len(found[name].causes)
    print(f"{name}: the error of the update is {part:.1%} of what another batch changes; causes: {causes}")

# %% [markdown]
# ### Along a training
#
# The error of the gradient by layer (from the picture at the top to the loss at the bottom) while the trained SSDLite
# is trained on in FP16, at six of twelve steps. The brighter, the worse. Where it is white, no gradient comes back to
# the layer in FP32: no box of that level takes part in the loss.

# %%
figure, ax = plt.subplots(figsize=(9, 5), layout="constrained")
network_over_time(ax, found["ssdlite"].moments)
plt.show()

# %% [markdown]
# Over the backbone it is the same at every moment: some percent, and nothing that grows. Single layers stand out,
# mostly others at the next moment; the worst is off by a third. It is not underflow, which is the share of entries
# that are zero in FP16 alone. The worst layer of each moment:

# %%
moments = found["ssdlite"].moments
moments.loc[moments.groupby("step")["error"].idxmax(), ["step", "name", "error", "underflow"]]

# %% [markdown]
# ### The same FCOS with a loss scale that is too small
#
# FP16 knows no number between 0 and 6e-8. Gradients are often smaller, which is why the loss is multiplied before the
# backward pass. Here it is multiplied by 0.001.

# %%
figure, ax = plt.subplots(figsize=(12, 4.5), layout="constrained")
network_by_depth(ax, found["fcos_scale"].members)
ax.set_title("fcos, trained, loss scale 0.001", loc="right")
plt.show()

# %%
for _, cause in found["fcos_scale"].causes.iterrows():
    print(f"{cause['cause']}, {cause['share']:.0%} of the update's error: {cause['evidence']}")

# %% [markdown]
# The forward pass is as good as before, and so is what each layer makes of its input. But from the head on, down to
# the picture, the gradient is lost (a relative error of 1): those layers learn nothing. If causes were read off where
# errors are *seen*, nearly the whole network would be blamed. Mending the loss scale alone takes the error away, so
# that is the cause, and the layers are its echo.
#
# ## 2. Parts that cannot bear FP16
#
# Two of the causes that `benchmarks/planted` plants into a small FCOS on easy pictures of 64 px:
#
# * `two_moments_norm`: the first norm computes a variance as the mean of squares less the square of the mean, of
#   pictures with an offset. In FP16 the squares end at 65504.
# * `scene_coordinates`: the loss decodes boxes in the coordinates of a large scene, around 1000. There FP16's numbers
#   are 0.5 to 1 pixel apart.
#
# The bars on the right have one row a cause: how much of the update's error **goes away** when that part alone is in
# FP32, and how much **is there** when that part alone is in FP16. On the left, the cause is shaded.

# %%
PLANTED = ("two_moments_norm", "scene_coordinates")
figure, axes = plt.subplots(2, 2, figsize=(15, 9), width_ratios=(2.6, 1), layout="constrained")
for (left, right), name in zip(axes, PLANTED, strict=True):
    network_by_depth(left, found[name].members, found[name].causes["where"])
    left.set_title(name, pad=24)
    shares_of_error(right, found[name].causes)
plt.show()

# %% [markdown]
# **`two_moments_norm`** is the easy one: the black line leaves the dashed one at `backbone.bn1`, and everything after
# it is spoiled, forward and back (errors that are not finite are drawn at 10).
#
# **`scene_coordinates`** is not. The forward pass looks sound up to the loss of boxes, and there the black line stands
# out: `loss_bbox` is off by more than a half on FP32's own input. But it is not what is broken: it compares boxes by
# differences of coordinates, and computes in the type of the boxes that it is given. The coder before it, whose own
# error is one rounding like everybody's, gives them rounded to half a pixel. With the coder in FP32 the error goes
# away, and with the coder alone in FP16 it is all there. These members were tried:

# %%
tried = found["scene_coordinates"].members.dropna(subset="share")
tried[["name", "made_here", "share", "alone"]].rename(columns={"share": "goes_away", "alone": "is_there"})

# %% [markdown]
# `bbox_head` (its forward pass) shows why both questions are asked. With it in FP32 the error goes away too, because
# it then gives FP32 on to the coder, which computes in whatever type it is given. Alone in FP16 it makes none of the
# error: it is no cause. `:decode` and the like are methods; a cause is named as small as it can be.
#
# ### Does it matter for AP?
#
# These runs were trained to their end, in FP32, in FP16, and in FP16 with the part that is named as an FP32 island
# (`benchmarks/results/planted_runs.csv`, four seeds an arm, AP in points; margin 5 AP).

# %%
runs = pd.read_csv(TABLES.parents[1] / "benchmarks" / "results" / "planted_runs.csv")
runs = runs[(runs["split"] == "eval") & (runs["fidelity"] == 1)].rename(columns={"recipe": "arm", "ap": "AP"})
runs["arm"] = runs["arm"].replace({"fp32": "FP32", "default": "FP16", "mended": "FP16, mended"})
COLOURS = {"FP32": BLACK, "FP16": VERMILION, "FP16, mended": BLUE}
planted = {name: Exported(runs[runs["cause"] == name], curves=pd.DataFrame()) for name in PLANTED}

figure, axes = plt.subplots(1, 2, figsize=(12, 3.8), layout="constrained")
for ax, name in zip(axes, PLANTED, strict=True):
    seed_points(ax, planted[name].ap(*COLOURS), colours=COLOURS)
    ax.set_title(name)
plt.show()

# %%
for name in PLANTED:
    for arm, gap in planted[name].gaps(5.0, baseline="FP32", candidates=("FP16", "FP16, mended")).items():
        print(f"{name}: {sentence(gap, candidate=arm)}")

# %% [markdown]
# Both gaps are real, and both are closed by the one part that the diagnosis named from a few steps before any of these
# runs. As islands both cost nothing: neither multiplies matrices. All thirteen planted causes, of which the diagnosis
# missed one at first, are in `benchmarks/results/planted.md`.
#
# ## 3. The real networks at full input size
#
# FCOS-R50 on one picture of 1066 x 800 px, and SSDLite-MobileNetV2 on eight of 320 px, with the published
# configurations, on photographs of blood cells. That is what a user has on the first day: the network and pictures,
# but no trained weights.

# %%
FULL = {"fcos_full": "FCOS-R50, one picture", "ssdlite_full": "SSDLite-MobileNetV2, eight pictures"}
figure, axes = plt.subplots(2, 1, figsize=(12, 8.5), layout="constrained")
for ax, name in zip(axes, FULL, strict=True):
    network_by_depth(ax, found[name].members, found[name].causes["where"])
    ax.set_title(f"{FULL[name]}, fresh weights", loc="right")
plt.show()

# %%
figure, axes = plt.subplots(1, 2, figsize=(12, 3), layout="constrained")
for ax, name in zip(axes, FULL, strict=True):
    shares_of_error(ax, found[name].causes)
    ax.set_title(FULL[name], pad=24)
plt.show()

# %%
proposals = pd.concat({name: found[name].proposals for name in FULL}).droplevel(1)
proposals.rename(columns={"share": "mends", "flops_in_half": "stays_in_half"})

# %% [markdown]
# **What the pictures show.** No layer makes more than about one rounding of error: the black line is flat through all
# of both networks, and nothing overflows. What grows is the echo. The blue line climbs from one rounding at the first
# convolution to a tenth and more at the head, and the gradient that comes back is wrong altogether. So the backbone is
# named, and within it the first convolution, because an error that enters early is multiplied most often.
#
# **What they do not show.**
#
# * Not that the backbone has to be FP32. The weights are **fresh**, with BatchNorm's statistics of one batch, and an
#   untrained network multiplies every small change on the way: an FP32 rounding as well as an FP16 one. Trained at
#   demo scale, neither model shows any of it (section 1).
# * Not the published gap of FCOS or SSDLite on COCO. They have the shapes and depths of the real networks, not their
#   values.
# * Not an AP. Nothing was trained here, and one step of one batch was looked at.
#
# What they are good for: that a diagnosis of the real networks is a matter of minutes on 2 cores, and that no layer of
# either is broken by itself. Where a checkpoint is at hand, `--checkpoint FILE` asks the question that counts.
#
# ## The answer
#
# * In **sound, trained detectors** (demo scale) FP16 loses nothing that matters: each layer one rounding, and an
#   update that is off by about a percent, or less, of what other pictures change.
# * Where something **is** broken, one step is enough to name it: a loss scale, a layer that overflows, and a part
#   whose error is seen one layer later. Where errors are seen is not where they are made; mending and breaking one
#   part at a time tells the two apart.
# * For both planted modules the mend wins the AP back. That is a small detector on easy pictures; how often such
#   causes are met is another question.
# * At **full size with fresh weights** the diagnosis shows an untrained network's sensitivity, and no defect of a
#   layer.
#
# The error is that of a step. A systematic error far below the noise may add up over a run, and nothing here would
# tell.
#
# ## The commands
#
# All tables of this notebook, `DIR` being a folder in COCO's format with the pictures for the full size (without
# `--data` those two are left out; the pictures here were the 292 of a public set of blood cells):
#
# ```
# python -m benchmarks.where_precision_is_lost --data DIR
# ```
#
# It asks what these ask, of which the last three need nothing trained:
#
# ```
# python -m workspace train fcos --precision fp32
# python -m workspace train ssdlite --precision fp32
# python -m workspace diagnose fcos --checkpoint work/runs/SIGNATURE/model.pth
# python -m workspace diagnose ssdlite --checkpoint work/runs/SIGNATURE/model.pth --steps 12
# python -m workspace diagnose fcos --checkpoint work/runs/SIGNATURE/model.pth --set loss_scale=0.001
# python -m benchmarks.planted diagnose --causes two_moments_norm scene_coordinates
# python -m workspace diagnose fcos --scale full --data DIR
# python -m workspace diagnose ssdlite --scale full --batch-size 8 --data DIR
# ```
#
# Figures differ a little from machine to machine: another CPU rounds FP32 itself otherwise, and a training of the same
# seed ends elsewhere.
#
# `--tables FOLDER` writes a diagnosis' tables for a notebook such as this one. The AP of the planted causes is from
# `python -m benchmarks.planted gaps` and `report`.
