"""What users wrote: modules that are right in FP32 and lose something in half. Importing this registers them.

Each is written as one would write it without mixed precision in mind: in the type of its input, by operators that are
not all on the autocast list (`workspace.precision.npu_autocast`).
"""

from benchmarks.planted.modules import backbones, heads, losses, necks, optimizers, stems, weights  # noqa: F401
