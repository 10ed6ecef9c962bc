#include "fallback.h"

#include "arithmetic.h"
#include "memory.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <vector>

namespace sim {
namespace {

using at::IValue;
using at::Tensor;
using torch::jit::Stack;

// The arguments of one call on their way to the CPU: where it runs, and what must be brought back to the originals.
struct Call {
  std::optional<at::Device> device;  // of the first argument on the simulated NPU
  bool to_host = false;              // an explicit `device` argument asks for the CPU
  at::Generator generator;
  struct Written {
    Tensor original, alias;
  };
  std::vector<Written> written;
};

Tensor take(const Tensor& tensor, bool written, Call& call) {
  if (!on_npu(tensor)) {
    return tensor;
  }
  if (!call.device.has_value()) {
    call.device = tensor.device();
  }
  // An empty `out=` is resized by the kernel, which memory that it does not own would not allow.
  auto alias = written && tensor.numel() == 0 ? at::empty(tensor.sizes(), tensor.options().device(at::kCPU))
                                              : cpu_alias(tensor);
  if (written) {
    call.written.push_back({tensor, alias});
  }
  return alias;
}

void take_argument(const c10::Argument& argument, IValue& value, Call& call) {
  const bool written = argument.alias_info() != nullptr && argument.alias_info()->isWrite();
  if (value.isTensor()) {
    value = take(value.toTensor(), written, call);
  } else if (value.isTensorList()) {
    std::vector<Tensor> taken;
    for (const auto& tensor : value.toTensorVector()) {
      taken.push_back(take(tensor, written, call));
    }
    value = std::move(taken);
  } else if (value.isOptionalTensorList()) {
    c10::List<std::optional<Tensor>> taken;
    for (const auto& tensor : value.toOptionalTensorVector()) {
      taken.push_back(tensor.has_value() ? std::optional<Tensor>(take(*tensor, written, call)) : std::nullopt);
    }
    value = std::move(taken);
  } else if (value.isDevice()) {
    const auto device = value.toDevice();
    if (device.is_privateuseone()) {
      call.device = device;
      value = at::Device(at::kCPU);
    } else {
      call.to_host = true;
    }
  } else if (value.isGenerator() && value.toGenerator().device().is_privateuseone()) {
    call.generator = value.toGenerator();
    value = IValue();
  }
}

at::Device concrete(const std::optional<at::Device>& device) {
  if (device.has_value() && device->has_index()) {
    return *device;
  }
  return c10::impl::getDeviceGuardImpl(at::kPrivateUse1)->getDevice();
}

// While it lives, the CPU's random numbers are a function of the device generator's seed and of how often it was asked.
class DeviceRandomness {
 public:
  explicit DeviceRandomness(at::Generator generator)
      : cpu_(at::detail::getDefaultCPUGenerator()), lock_(cpu_.mutex()), before_(cpu_.get_state()) {
    const uint64_t offset = generator.get_offset();
    generator.set_offset(offset + 4);  // of a Philox generator: in units of four
    cpu_.set_current_seed(generator.current_seed() ^ (0x9E3779B97F4A7C15U * (offset / 4 + 1)));
    lock_.unlock();
  }
  ~DeviceRandomness() {
    cpu_.set_state(before_);
  }
  DeviceRandomness(const DeviceRandomness&) = delete;
  DeviceRandomness& operator=(const DeviceRandomness&) = delete;

 private:
  at::Generator cpu_;
  std::unique_lock<std::mutex> lock_;
  Tensor before_;
};

void compute(const c10::OperatorHandle& op, Stack& stack, const Call& call) {
  at::AutoDispatchBelowADInplaceOrView below_autograd;
  c10::impl::ExcludeDispatchKeyGuard without_autocast(c10::autocast_dispatch_keyset);
  std::optional<DeviceRandomness> randomness;
  if (op.hasTag(at::Tag::nondeterministic_seeded)) {
    randomness.emplace(
        call.generator.defined() ? call.generator : at::globalContext().defaultGenerator(concrete(call.device)));
  }
  Cube cube;
  op.callBoxed(stack);
}

void saturate_if_half(const Tensor& tensor, at::Device device) {
  if (tensor.defined() && tensor.scalar_type() == at::kHalf) {
    saturate_(tensor, device);
  }
}

// What the kernel made of an argument that it wrote to, where that is not the argument's own memory.
void bring_back(const Call::Written& written) {
  const auto& [original, alias] = written;
  if (alias.sizes() != original.sizes()) {
    original.resize_(alias.sizes());
  } else if (alias.const_data_ptr() == original.const_data_ptr()) {
    return;
  }
  cpu_alias(original).copy_(alias);
}

Tensor original_of(const Tensor& result, const Call& call) {
  for (const auto& written : call.written) {
    if (written.alias.is_same(result)) {
      return written.original;
    }
  }
  return {};
}

Tensor give(const Tensor& result, const Call& call, at::Device device) {
  if (auto original = original_of(result, call); original.defined()) {
    return original;
  }
  return call.to_host || on_npu(result) ? result : to_npu(result, device);
}

// Rounds an FP32 tensor to FP16; says whether it was one.
bool narrow(IValue& value) {
  if (!value.isTensor() || !value.toTensor().defined() || value.toTensor().scalar_type() != at::kFloat) {
    return false;
  }
  value = value.toTensor().to(at::kHalf);
  return true;
}

void run(const c10::OperatorHandle& op, Stack* stack, bool on_cube) {
  const auto& schema = op.schema();
  const auto count = schema.arguments().size();
  const auto first = stack->size() - count;
  Call call;
  for (size_t i = 0; i < count; ++i) {
    take_argument(schema.arguments()[i], (*stack)[first + i], call);
  }
  const auto device = concrete(call.device);
  bool narrowed = false;
  if (on_cube && runs_fp32_as_fp16()) {
    for (size_t i = 0; i < count; ++i) {
      narrowed |= narrow((*stack)[first + i]);
    }
  }

  compute(op, *stack, call);

  const bool clamp = saturates();
  for (const auto& written : call.written) {
    if (clamp) {
      saturate_if_half(written.alias, device);
    }
    bring_back(written);
  }
  for (auto value = stack->end() - static_cast<std::ptrdiff_t>(schema.returns().size()); value != stack->end();
       ++value) {
    const auto finish = [&](const Tensor& result) {
      if (!result.defined()) {
        return result;
      }
      if (clamp) {
        saturate_if_half(result, device);
      }
      return give(narrowed ? result.to(at::kFloat) : result, call, device);
    };
    if (value->isTensor()) {
      *value = finish(value->toTensor());
    } else if (value->isTensorList()) {
      std::vector<Tensor> finished;
      for (const auto& tensor : value->toTensorVector()) {
        finished.push_back(finish(tensor));
      }
      *value = std::move(finished);
    }
  }
}

}  // namespace

void run_on_cpu(const c10::OperatorHandle& op, Stack* stack) {
  run(op, stack, false);
}

void run_on_cube(const c10::OperatorHandle& op, Stack* stack) {
  run(op, stack, true);
}

}  // namespace sim
