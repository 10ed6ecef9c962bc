// Half arithmetic and HF32 of the Ascend Cube on a CPU, the NPU's autocast policies for the CPU, and saturation.
//
// Loaded on first use by half.py, which explains the arithmetic. Nothing is registered when the library is loaded:
// `install_cube` and `set_autocast_policy` do it, once a process, with torch's warning about overridden kernels
// silenced there and nowhere else.

#include <array>
#include <atomic>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/addmm_cpu_dispatch.h>
#include <ATen/ops/addmv_cpu_dispatch.h>
#include <ATen/ops/baddbmm_cpu_dispatch.h>
#include <ATen/ops/bmm_cpu_dispatch.h>
#include <ATen/ops/convolution_backward_native.h>
#include <ATen/ops/convolution_native.h>
#include <ATen/ops/dot_cpu_dispatch.h>
#include <ATen/ops/mm_cpu_dispatch.h>
#include <ATen/ops/mv_native.h>
#include <torch/library.h>

namespace {

using at::IntArrayRef;
using at::Scalar;
using at::Tensor;

// ---------------------------------------------------------------------------------------------------------------
// The Cube: convolutions and matrix products of halves, computed in FP32 and rounded once
// ---------------------------------------------------------------------------------------------------------------

std::atomic<bool> cube_enabled{false};

bool on_cube(const Tensor& a, const Tensor& b) {
  const auto dtype = a.scalar_type();
  return (dtype == at::kHalf || dtype == at::kBFloat16) && b.scalar_type() == dtype &&
      cube_enabled.load(std::memory_order_relaxed);
}

// Autocast must not cast the FP32 operands down again: some kernels call listed operators inside (_convolution).
using NoAutocast = c10::impl::ExcludeDispatchKeyGuard;
constexpr auto kAutocast = c10::DispatchKey::AutocastCPU;

// HF32: FP32 with 11 of its 23 bits of mantissa, to nearest, ties to even. Infinities and nans keep their bits.
constexpr uint32_t kDropped = 12;
std::atomic<bool> hf32_on{false};

uint32_t hf32_bits(uint32_t bits) {
  constexpr uint32_t below_half = (1u << (kDropped - 1)) - 1, kept = ~((1u << kDropped) - 1);
  const uint32_t rounded_up = (bits + below_half + ((bits >> kDropped) & 1u)) & kept;
  return (bits & 0x7F800000u) == 0x7F800000u ? bits : rounded_up;
}

Tensor hf32(const Tensor& tensor) {
  auto result = tensor.clone();  // dense, whatever the original is
  auto* values = reinterpret_cast<uint32_t*>(result.data_ptr<float>());
  at::parallel_for(0, result.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
    for (auto i = begin; i < end; ++i) {
      values[i] = hf32_bits(values[i]);
    }
  });
  return result;
}

bool on_hf32(const Tensor& a, const Tensor& b) {
  return hf32_on.load(std::memory_order_relaxed) && a.scalar_type() == at::kFloat && b.scalar_type() == at::kFloat;
}

Tensor up(const Tensor& tensor) {
  return tensor.to(at::kFloat);
}

Tensor rounded(const Tensor& result, const Tensor& like) {
  return result.defined() ? result.to(like.scalar_type()) : result;
}

Tensor convolution(
    const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride,
    IntArrayRef padding, IntArrayRef dilation, bool transposed, IntArrayRef output_padding, int64_t groups) {
  if (on_hf32(input, weight)) {
    return at::native::convolution(
        hf32(input), hf32(weight), bias, stride, padding, dilation, transposed, output_padding, groups);
  }
  if (!on_cube(input, weight)) {
    return at::native::convolution(
        input, weight, bias, stride, padding, dilation, transposed, output_padding, groups);
  }
  NoAutocast guard(kAutocast);
  std::optional<Tensor> wide_bias;
  if (bias.has_value() && bias->defined()) {
    wide_bias = up(*bias);
  }
  return rounded(
      at::native::convolution(
          up(input), up(weight), wide_bias, stride, padding, dilation, transposed, output_padding, groups),
      input);
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(
    const Tensor& grad_output, const Tensor& input, const Tensor& weight, at::OptionalIntArrayRef bias_sizes,
    IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, bool transposed, IntArrayRef output_padding,
    int64_t groups, std::array<bool, 3> output_mask) {
  if (on_hf32(input, weight)) {
    auto [grad_input, grad_weight, grad_bias] = at::native::convolution_backward(
        hf32(grad_output), hf32(input), hf32(weight), bias_sizes, stride, padding, dilation, transposed, output_padding,
        groups, {output_mask[0], output_mask[1], false});
    if (output_mask[2]) {  // a sum, which is not the Cube's work
      std::vector<int64_t> dims(grad_output.dim() - 1);
      std::iota(dims.begin() + 1, dims.end(), 2);
      grad_bias = grad_output.sum(dims);
    }
    return {grad_input, grad_weight, grad_bias};
  }
  if (!on_cube(input, weight) || grad_output.scalar_type() != input.scalar_type()) {
    return at::native::convolution_backward(
        grad_output, input, weight, bias_sizes, stride, padding, dilation, transposed, output_padding, groups,
        output_mask);
  }
  NoAutocast guard(kAutocast);
  auto [grad_input, grad_weight, grad_bias] = at::native::convolution_backward(
      up(grad_output), up(input), up(weight), bias_sizes, stride, padding, dilation, transposed, output_padding,
      groups, output_mask);
  return {rounded(grad_input, input), rounded(grad_weight, input), rounded(grad_bias, input)};
}

Tensor mm(const Tensor& a, const Tensor& b) {
  if (!on_cube(a, b)) {
    return at::cpu::mm(a, b);
  }
  NoAutocast guard(kAutocast);
  return rounded(at::cpu::mm(up(a), up(b)), a);
}

Tensor bmm(const Tensor& a, const Tensor& b) {
  if (!on_cube(a, b)) {
    return at::cpu::bmm(a, b);
  }
  NoAutocast guard(kAutocast);
  return rounded(at::cpu::bmm(up(a), up(b)), a);
}

Tensor mv(const Tensor& matrix, const Tensor& vector) {
  if (!on_cube(matrix, vector)) {
    return at::native::mv(matrix, vector);
  }
  NoAutocast guard(kAutocast);
  return rounded(at::native::mv(up(matrix), up(vector)), matrix);
}

Tensor dot(const Tensor& a, const Tensor& b) {
  if (!on_cube(a, b)) {
    return at::cpu::dot(a, b);
  }
  NoAutocast guard(kAutocast);
  return rounded(at::cpu::dot(up(a), up(b)), a);
}

// addmm, baddbmm and addmv differ in their shapes only.
template <Tensor (*product)(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&)>
Tensor add_product(
    const Tensor& self, const Tensor& a, const Tensor& b, const Scalar& beta, const Scalar& alpha) {
  if (!on_cube(a, b) || self.scalar_type() != a.scalar_type()) {
    return product(self, a, b, beta, alpha);
  }
  NoAutocast guard(kAutocast);
  return rounded(product(up(self), up(a), up(b), beta, alpha), a);
}

// ---------------------------------------------------------------------------------------------------------------
// Registration
// ---------------------------------------------------------------------------------------------------------------

// Overriding is what is wanted here, so that one warning is dropped; any other reaches its usual handler.
class OverridesAreIntended final : public c10::WarningHandler {
 public:
  void process(const c10::Warning& warning) override {
    if (warning.msg().find("Overriding a previously registered kernel") == std::string::npos) {
      outer_->process(warning);
    }
  }

 private:
  c10::WarningHandler* outer_ = c10::WarningUtils::get_warning_handler();
};

// Never destroyed: kernels stay registered until the process ends.
torch::Library& implementations(c10::DispatchKey key) {
  return *new torch::Library(torch::Library::IMPL, "aten", key, __FILE__, __LINE__);
}

void install_cube() {
  OverridesAreIntended handler;
  c10::WarningUtils::WarningHandlerGuard guard(&handler);
  static torch::Library& aten = implementations(c10::DispatchKey::CPU);
  aten.impl("convolution", TORCH_FN(convolution));
  aten.impl("convolution_backward", TORCH_FN(convolution_backward));
  aten.impl("mm", TORCH_FN(mm));
  aten.impl("bmm", TORCH_FN(bmm));
  aten.impl("mv", TORCH_FN(mv));
  aten.impl("dot", TORCH_FN(dot));
  aten.impl("addmm", TORCH_FN((add_product<at::cpu::addmm>)));
  aten.impl("baddbmm", TORCH_FN((add_product<at::cpu::baddbmm>)));
  aten.impl("addmv", TORCH_FN((add_product<at::cpu::addmv>)));
}

bool enable_cube(bool enabled) {
  return cube_enabled.exchange(enabled);
}

bool enable_hf32(bool enabled) {
  return hf32_on.exchange(enabled);
}

bool hf32_enabled() {
  return hf32_on.load();
}

// ---------------------------------------------------------------------------------------------------------------
// Autocast policies, as in ATen/autocast_mode.h but boxed, so that one function serves every overload
// ---------------------------------------------------------------------------------------------------------------

using c10::OperatorHandle;
using torch::jit::Stack;

c10::ArrayRef<c10::IValue> arguments(const OperatorHandle& op, const Stack& stack) {
  const auto count = op.schema().arguments().size();
  return c10::ArrayRef<c10::IValue>(stack).slice(stack.size() - count, count);
}

void cast_arguments(const OperatorHandle& op, Stack& stack, at::ScalarType dtype) {
  const auto count = op.schema().arguments().size();
  for (auto argument = stack.end() - static_cast<std::ptrdiff_t>(count); argument != stack.end(); ++argument) {
    if (argument->isTensor()) {
      *argument = at::autocast::cached_cast(dtype, argument->toTensor(), at::kCPU);
    } else if (argument->isTensorList()) {
      *argument = at::autocast::cached_cast(dtype, at::TensorList(argument->toTensorVector()), at::kCPU);
    }
  }
}

bool first_is_eligible(const OperatorHandle& op, const Stack& stack) {
  const auto& first = arguments(op, stack).front();
  return first.isTensor() && at::autocast::is_eligible(first.toTensor(), at::kCPU);
}

void lower_precision_fp(const OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  NoAutocast guard(kAutocast);
  cast_arguments(op, *stack, at::autocast::get_autocast_dtype(at::kCPU));
  op.callBoxed(stack);
}

void fp32(const OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  NoAutocast guard(kAutocast);
  cast_arguments(op, *stack, at::kFloat);
  op.callBoxed(stack);
}

void fp32_set_opt_dtype(const OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  NoAutocast guard(kAutocast);
  if (first_is_eligible(op, *stack)) {
    const auto& schema = op.schema();
    const auto index = schema.argumentIndexWithName("dtype");
    TORCH_CHECK(index.has_value(), schema.operator_name(), " has no argument `dtype`");
    auto& dtype = (*stack)[stack->size() - schema.arguments().size() + *index];
    if (dtype.isNone()) {
      dtype = at::kFloat;
    }
  }
  op.callBoxed(stack);
}

// norm.Scalar and norm.ScalarOpt_dim take no dtype: their arguments with a dtype appended are those of
// norm.ScalarOpt_dtype and norm.ScalarOpt_dim_dtype.
void fp32_append_dtype(const OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  NoAutocast guard(kAutocast);
  const auto& name = op.schema().operator_name();
  const auto overload = (name.overload_name == "Scalar" ? "ScalarOpt" : name.overload_name) + "_dtype";
  const auto& first = arguments(op, *stack).front().toTensor();
  stack->emplace_back(first_is_eligible(op, *stack) ? at::kFloat : first.scalar_type());
  c10::Dispatcher::singleton().findSchemaOrThrow(name.name.c_str(), overload.c_str()).callBoxed(stack);
}

void promote(const OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  NoAutocast guard(kAutocast);
  auto widest = at::autocast::get_autocast_dtype(at::kCPU);
  for (const auto& argument : arguments(op, *stack)) {
    if (argument.isTensor() && argument.toTensor().defined()) {
      widest = at::autocast::prioritize(widest, argument.toTensor(), at::kCPU);
    } else if (argument.isTensorList()) {
      widest = at::autocast::prioritize(widest, at::TensorList(argument.toTensorVector()), at::kCPU);
    }
  }
  cast_arguments(op, *stack, widest);
  op.callBoxed(stack);
}

void banned(const OperatorHandle& op, c10::DispatchKeySet, Stack*) {
  TORCH_CHECK(
      false, op.schema().operator_name(), " is unsafe to autocast, and an NPU refuses it too: its input, a ",
      "probability, underflows in half precision. Use binary_cross_entropy_with_logits (BCEWithLogitsLoss) on the ",
      "logits, or leave autocast around the loss.");
}

torch::CppFunction kernel_of(const std::string& policy) {
  using torch::CppFunction;
  if (policy == "lower_precision_fp") return CppFunction::makeFromBoxedFunction<&lower_precision_fp>();
  if (policy == "fp32") return CppFunction::makeFromBoxedFunction<&fp32>();
  if (policy == "fp32_set_opt_dtype") return CppFunction::makeFromBoxedFunction<&fp32_set_opt_dtype>();
  if (policy == "fp32_append_dtype") return CppFunction::makeFromBoxedFunction<&fp32_append_dtype>();
  if (policy == "promote") return CppFunction::makeFromBoxedFunction<&promote>();
  if (policy == "banned") return CppFunction::makeFromBoxedFunction<&banned>();
  TORCH_CHECK(policy == "fallthrough", "unknown autocast policy ", policy);
  return CppFunction::makeFallthrough();
}

void set_autocast_policy(std::string policy, const c10::List<std::string>& overloads) {
  OverridesAreIntended handler;
  c10::WarningUtils::WarningHandlerGuard guard(&handler);
  static torch::Library& aten = implementations(kAutocast);
  for (const std::string name : overloads) {
    aten.impl(name.c_str(), kernel_of(policy));
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Saturation
// ---------------------------------------------------------------------------------------------------------------

constexpr int16_t kMagnitude = 0x7FFF, kInfinity = 0x7C00, kLargest = 0x7BFF;  // 0x7BFF is 65504

// Infinities and nans are rare: a scan without branches, which the compiler vectorises, looks for any; only then are
// they counted and rewritten.
int64_t saturate_span(uint16_t* values, int64_t size) {
  uint16_t any = 0;
  for (int64_t i = 0; i < size; ++i) {
    any |= static_cast<int16_t>(values[i] & kMagnitude) >= kInfinity ? 1 : 0;
  }
  int64_t clamped = 0;
  for (int64_t i = 0; any != 0 && i < size; ++i) {
    const uint16_t magnitude = values[i] & kMagnitude;
    if (magnitude >= kInfinity) {
      values[i] = magnitude == kInfinity ? (values[i] & ~kMagnitude) | kLargest : 0;
      ++clamped;
    }
  }
  return clamped;
}

int64_t saturate_(const Tensor& self) {
  TORCH_CHECK(self.scalar_type() == at::kHalf, "saturate_ expects float16, got ", self.scalar_type());
  if (!self.is_non_overlapping_and_dense()) {
    auto dense = self.contiguous();
    const auto clamped = saturate_(dense);
    if (clamped != 0) {
      self.copy_(dense);
    }
    return clamped;
  }
  constexpr int64_t span = 4096;
  auto* values = static_cast<uint16_t*>(self.data_ptr());
  const auto size = self.numel();
  std::atomic<int64_t> clamped{0};
  at::parallel_for(0, (size + span - 1) / span, 16, [&](int64_t begin, int64_t end) {
    int64_t found = 0;
    for (auto block = begin; block < end; ++block) {
      found += saturate_span(values + block * span, std::min(span, size - block * span));
    }
    clamped += found;
  });
  return clamped;
}

}  // namespace

TORCH_LIBRARY(half_arithmetic, m) {
  m.def("install_cube() -> ()", &install_cube);
  m.def("enable_cube(bool enabled) -> bool", &enable_cube);
  m.def("enable_hf32(bool enabled) -> bool", &enable_hf32);
  m.def("hf32_enabled() -> bool", &hf32_enabled);
  m.def("set_autocast_policy(str policy, str[] overloads) -> ()", &set_autocast_policy);
  m.def("saturate_(Tensor(a!) self) -> int");
}

TORCH_LIBRARY_IMPL(half_arithmetic, CPU, m) {
  m.impl("saturate_", TORCH_FN(saturate_));
}
