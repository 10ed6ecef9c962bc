#include "own_kernels.h"

#include "arithmetic.h"
#include "memory.h"

#include <ATen/ATen.h>
#include <ATen/native/TensorConversions.h>
#include <ATen/ops/_to_copy_native.h>

namespace sim {
namespace {

using at::Tensor;

// ---- Memory -------------------------------------------------------------------------------------------------------

Tensor copy_from(const Tensor& self, const Tensor& target, bool) {
  cpu_alias(target).copy_(cpu_alias(self));
  return target;
}

Tensor copy_from_and_resize(const Tensor& self, const Tensor& target) {
  target.resize_(self.sizes());
  return copy_from(self, target, false);
}

// ---- Gradient scaling and the overflow status ---------------------------------------------------------------------

// On an NPU the gradients are unscaled only if the step is not to be skipped, and where it saturates the status flag of
// the device takes the place of a look at them (op-plugin, AmpForeachNonFiniteCheckAndUnscaleKernelNpu.cpp).
void check_and_unscale(at::TensorList gradients, Tensor& found_inf, const Tensor& inverse_scale) {
  if (gradients.empty()) {
    return;
  }
  const auto device = gradients.front().device();
  bool finite = true;
  if (saturates()) {
    finite = !overflowed(device);
    clear_overflow(device);
  } else {
    for (const auto& gradient : gradients) {
      finite = finite && cpu_alias(gradient).isfinite().all().item<bool>();
    }
  }
  if (!finite) {
    cpu_alias(found_inf).add_(1);
    return;
  }
  for (const auto& gradient : gradients) {
    cpu_alias(gradient).mul_(cpu_alias(inverse_scale));
  }
}

// Eight floats, of which the first says whether anything saturated.
Tensor get_float_status(const Tensor& self, int64_t) {
  auto status = at::zeros({8}, at::kFloat);
  status[0] = overflowed(self.device()) ? 1 : 0;
  return to_npu(status, self.device());
}

Tensor clear_float_status(const Tensor& self, int64_t) {
  clear_overflow(self.device());
  return to_npu(at::zeros({8}, at::kFloat), self.device());
}

Tensor alloc_float_status(const Tensor& self) {
  return to_npu(at::zeros({8}, at::kFloat), self.device());
}

}  // namespace

void register_own_aten_kernels(torch::Library& aten) {
  aten.impl("_to_copy", TORCH_FN(at::native::_to_copy));
  aten.impl("_copy_from", TORCH_FN(copy_from));
  aten.impl("_copy_from_and_resize", TORCH_FN(copy_from_and_resize));
  aten.impl("_amp_foreach_non_finite_check_and_unscale_", TORCH_FN(check_and_unscale));
}

void register_npu_kernels(torch::Library& npu) {
  npu.impl("npu_get_float_status", TORCH_FN(get_float_status));
  npu.impl("npu_clear_float_status", TORCH_FN(clear_float_status));
  npu.impl("npu_alloc_float_status", TORCH_FN(alloc_float_status));
}

}  // namespace sim
