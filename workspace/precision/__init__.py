"""What arithmetic a run asks for, how each device performs it, and what it really was."""

from workspace.precision.policy import FP32, LossScale, Precision

__all__ = ["FP32", "LossScale", "Precision"]
