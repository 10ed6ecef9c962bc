#include "arithmetic.h"

#include <acl/acl.h>
#include <acl/acl_op_compiler.h>
#include <dlfcn.h>

#include <array>
#include <atomic>
#include <cstdlib>

namespace sim {
namespace {

std::array<std::atomic<bool>, 64> status;

std::string compile_option(aclCompileOpt option) {
  std::string value(aclGetCompileoptSize(option), '\0');
  TORCH_CHECK(aclGetCompileopt(option, value.data(), value.size()) == ACL_SUCCESS, aclGetRecentErrMsg());
  value.pop_back();  // the terminating zero
  return value;
}

template <typename Signature>
c10::TypedOperatorHandle<Signature> half_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

bool enable_cube(bool enabled) {
  static const auto call = half_operator<bool(bool)>("half_arithmetic::enable_cube");
  return call.call(enabled);
}

bool enable_hf32(bool enabled) {
  static const auto call = half_operator<bool(bool)>("half_arithmetic::enable_hf32");
  return call.call(enabled);
}

// The first character is for convolutions, the second for matrix products, both of which torch_npu sets.
bool convolves_in_hf32() {
  static const bool served = c10::Dispatcher::singleton().findSchema({"half_arithmetic::enable_hf32", ""}).has_value();
  return served && compile_option(ACL_ALLOW_HF32)[0] == '1';
}

}  // namespace

void load_half_arithmetic() {
  const char* file = std::getenv("NPU_SIM_HALF");
  TORCH_CHECK(file != nullptr, "NPU_SIM_HALF does not name the half arithmetic: source set_env.sh");
  TORCH_CHECK(dlopen(file, RTLD_NOW) != nullptr, dlerror());
  half_operator<void()>("half_arithmetic::install_cube").call();
}

bool runs_fp32_as_fp16() {
  return compile_option(ACL_PRECISION_MODE) == "allow_fp32_to_fp16";
}

Cube::Cube() : half_before_(enable_cube(true)) {
  if (convolves_in_hf32()) {
    hf32_before_ = enable_hf32(true);
  }
}

Cube::~Cube() {
  enable_cube(half_before_);
  if (hf32_before_.has_value()) {
    enable_hf32(*hf32_before_);
  }
}

bool saturates() {
  aclrtFloatOverflowMode mode = ACL_RT_OVERFLOW_MODE_UNDEF;
  aclrtGetDeviceSatMode(&mode);
  return mode == ACL_RT_OVERFLOW_MODE_SATURATION;
}

void saturate_(const at::Tensor& result, at::Device device) {
  static const auto clamp = half_operator<int64_t(const at::Tensor&)>("half_arithmetic::saturate_");
  if (clamp.call(result) > 0) {
    status[device.index()] = true;
  }
}

bool overflowed(at::Device device) {
  return status[device.index()];
}

void clear_overflow(at::Device device) {
  status[device.index()] = false;
}

}  // namespace sim
