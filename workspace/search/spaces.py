"""Search spaces that several experiments share."""

from collections.abc import Mapping

from workspace.precision import LossScale
from workspace.search.space import Word, choice, times


def fp16_recipe(*islands: str) -> Mapping[str, Word]:
    """What a user would turn to win back the AP that FP16 costs: loss scale, schedule, clipping, FP32 islands.

    The rate reaches from a third to three times the default one. The loss scales and clipping norms that were published
    for the verified models in mixed precision are among the options, and so are the default recipes at both scales.

    Args:
        islands: of the detector, each an option of its own beside none.
    """
    return {
        "loss_scale": choice(
            {
                "dynamic 2^16": LossScale(),
                "dynamic 2^16, grows every 100": LossScale(growth_interval=100),
                "static 512": LossScale(policy="static", init=512.0),
            }
        ),
        "lr": times(1 / 3, 3),
        "warmup_steps": times(1 / 2, 4),
        "clip_norm": choice({"none": None, "1": 1.0, "10": 10.0, "35": 35.0}),
        "weight_decay": times(1 / 10, 10),
        "fp32_islands": choice({"none": (), **{island: (island,) for island in islands}}),
    }
