"""What recipes of several detectors share."""

from workspace.spec import Recipe

ONE_X = Recipe(
    optimizer="SGD",
    lr=0.01,
    weight_decay=1e-4,
    batch_size=16,
    epochs=12,
    decay="step",
    milestones=(8 / 12, 11 / 12),
    warmup_steps=500,
    warmup_factor=0.001,
)
"""MMDetection's 1x schedule on 8 devices with 2 pictures each, at the rate that its single-stage detectors take."""


def from_scratch(*, lr: float, weight_decay: float, steps: int, batch_size: int = 8) -> Recipe:
    """A demo's: AdamW, a tenth of the steps to warm up in, cosine to zero, gradients clipped to a norm of 10."""
    return Recipe(
        optimizer="AdamW",
        lr=lr,
        weight_decay=weight_decay,
        batch_size=batch_size,
        steps=steps,
        decay="cosine",
        warmup_steps=steps // 10,
        warmup_factor=0.04,
        clip_norm=10.0,
    )
