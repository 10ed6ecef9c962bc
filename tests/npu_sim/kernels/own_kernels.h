// Operators that the CPU has no kernel for, or that do something else on an NPU.
#pragma once

#include <torch/library.h>

namespace sim {

void register_own_aten_kernels(torch::Library& aten);
void register_npu_kernels(torch::Library& npu);  // of torch_npu's own namespace

}  // namespace sim
