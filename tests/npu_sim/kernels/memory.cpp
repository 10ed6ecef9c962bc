#include "memory.h"

#include <ATen/ops/empty_strided.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

namespace sim {

at::Tensor cpu_alias(const at::Tensor& tensor) {
  if (!on_npu(tensor)) {
    return tensor;
  }
  auto alias = at::from_blob(
      const_cast<void*>(tensor.const_data_ptr()), tensor.sizes(), tensor.strides(),
      at::TensorOptions().dtype(tensor.dtype()));
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) {
    alias.unsafeGetTensorImpl()->set_wrapped_number(true);
  }
  return alias;
}

at::Tensor to_npu(const at::Tensor& tensor, at::Device device) {
  if (!tensor.defined()) {
    return tensor;
  }
  const auto options = tensor.options().device(device).pinned_memory(false);
  auto moved = at::empty_strided(tensor.sizes(), tensor.strides(), options);
  if (tensor.is_non_overlapping_and_dense()) {
    std::memcpy(moved.mutable_data_ptr(), tensor.const_data_ptr(), tensor.nbytes());
  } else {
    cpu_alias(moved).copy_(tensor);
  }
  return moved;
}

}  // namespace sim
