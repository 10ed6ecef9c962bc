// Any operator on tensors of the simulated NPU, computed by the CPU's kernel.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

namespace sim {

// A boxed kernel. Arguments become aliases on the CPU; what the operator writes to is written in place, what is new
// comes back as tensors of the simulated NPU. FP16 results saturate where the device saturates.
void run_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack);

// As run_on_cpu, for the operators of the Cube: on the first generation their FP32 operands are rounded to FP16.
void run_on_cube(const c10::OperatorHandle& op, torch::jit::Stack* stack);

}  // namespace sim
