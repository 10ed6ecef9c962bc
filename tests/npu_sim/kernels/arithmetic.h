// What the simulated chip does to numbers: the project's own half arithmetic, HF32, saturation and its status flag.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string>

namespace sim {

// Loads the project's half arithmetic, the file named by NPU_SIM_HALF, and installs its kernels. Throws c10::Error.
void load_half_arithmetic();

// Whether convolutions and matrix products of FP32 operands run in FP16, as torch_npu asks of the first generation
// (ACL_PRECISION_MODE allow_fp32_to_fp16).
bool runs_fp32_as_fp16();

// While it lives, the CPU computes as the chip's Cube: halves as half.cpp does, and FP32 convolutions in HF32 where
// ACL_ALLOW_HF32 allows it.
class Cube {
 public:
  Cube();
  ~Cube();
  Cube(const Cube&) = delete;
  Cube& operator=(const Cube&) = delete;

 private:
  bool half_before_;
  std::optional<bool> hf32_before_;
};

// Whether FP16 results saturate: on the first generation always, else as torch_npu has set the device.
bool saturates();

// Clamps the infinities and nans of an FP16 CPU tensor and raises the device's status flag if there were any.
void saturate_(const at::Tensor& result, at::Device device);

// The device's overflow status: set by what saturates, until it is cleared.
bool overflowed(at::Device device);
void clear_overflow(at::Device device);

}  // namespace sim
