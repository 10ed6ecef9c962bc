"""Measure, search and judge the accuracy cost of FP16 mixed precision in MMDetection models."""

import os

# With torch_npu installed, `import torch` would load it and fail where CANN is missing, also for who asked for the CPU,
# and with a reason that is hard to read. `workspace.devices.npu` imports it, when an NPU is asked for.
os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
