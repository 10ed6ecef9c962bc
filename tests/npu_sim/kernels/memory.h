// Tensors of the simulated NPU seen as tensors of the CPU, and back.
#pragma once

#include <ATen/core/Tensor.h>

namespace sim {

inline bool on_npu(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().is_privateuseone();
}

// A CPU tensor on the very memory of a tensor of the simulated NPU, whose device memory is the host's; any other tensor
// as it is. The alias must not outlive the tensor.
at::Tensor cpu_alias(const at::Tensor& tensor);

// A tensor of the simulated NPU with the values of a CPU tensor.
at::Tensor to_npu(const at::Tensor& tensor, at::Device device);

}  // namespace sim
