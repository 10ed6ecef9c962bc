// Gives the simulated NPU its kernels: called by aclInit, when torch and torch_npu are in the process.

#include "arithmetic.h"
#include "fallback.h"
#include "own_kernels.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <set>
#include <string>

namespace {

using c10::DispatchKey;

constexpr auto kNpu = DispatchKey::PrivateUse1;

// Replacing torch_npu's kernels is what is wanted here, so that one warning is dropped; any other reaches its usual
// handler.
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

// The operators of the Cube, whose FP32 operands the first generation rounds to FP16.
const std::set<std::string> kCube{
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "convolution", "convolution_backward", "dot", "mm", "mv",
};

// Memory is torch_npu's: allocation, and what only looks at it or hands it on, stays with its own kernels.
const std::set<std::string> kMemory{
    "_pin_memory", "empty.memory_format", "empty_like", "empty_strided", "is_pinned", "is_set_to", "new_empty_strided",
    "record_stream", "resize_", "resize_as_", "set_", "set_.source_Storage", "set_.source_Storage_storage_offset",
    "set_.source_Tensor",
};

bool is_view(const c10::FunctionSchema& schema) {
  for (const auto& result : schema.returns()) {
    if (result.alias_info() != nullptr && !result.alias_info()->isWrite()) {
      return true;
    }
  }
  return false;
}

std::string short_name(const c10::OperatorName& name) {
  const auto stem = name.name.substr(sizeof("aten::") - 1);
  return name.overload_name.empty() ? stem : stem + "." + name.overload_name;
}

// Some operators have a kernel, a derivative or both of torch_npu's own, made of NPU kernels. They are ATen's again.
template <DispatchKey key>
void as_in_aten(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  op.callBoxedForDispatchKey(key, *stack);
}

void replace_kernels(torch::Library& aten, torch::Library& autograd) {
  using torch::CppFunction;
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const auto& full_name : dispatcher.getAllOpNames()) {
    const auto op = dispatcher.findOp(full_name);
    if (full_name.name.rfind("aten::", 0) != 0 || !op->hasSchema() || !op->hasKernelForDispatchKey(kNpu)) {
      continue;
    }
    const auto name = short_name(full_name);
    constexpr auto kComposite = DispatchKey::CompositeImplicitAutograd;
    if (op->hasKernelForDispatchKey(kComposite)) {
      aten.impl(name.c_str(), CppFunction::makeFromBoxedFunction<&as_in_aten<kComposite>>());
      autograd.impl(name.c_str(), CppFunction::makeFromBoxedFunction<&as_in_aten<kComposite>>());
      continue;
    }
    if (op->hasKernelForDispatchKey(DispatchKey::AutogradPrivateUse1) &&
        op->hasKernelForDispatchKey(DispatchKey::Autograd)) {
      autograd.impl(name.c_str(), CppFunction::makeFromBoxedFunction<&as_in_aten<DispatchKey::Autograd>>());
    }
    if (is_view(op->schema()) || kMemory.count(name) != 0 || !op->hasComputedKernelForDispatchKey(DispatchKey::CPU)) {
      continue;
    }
    if (kCube.count(name) != 0) {
      aten.impl(name.c_str(), CppFunction::makeFromBoxedFunction<&sim::run_on_cube>());
    } else {
      aten.impl(name.c_str(), CppFunction::makeFromBoxedFunction<&sim::run_on_cpu>());
    }
  }
}

// Never destroyed: kernels stay registered until the process ends.
torch::Library& implementations(const char* name, DispatchKey key) {
  return *new torch::Library(torch::Library::IMPL, name, key, __FILE__, __LINE__);
}

void bring_up() {
  OverridesAreIntended handler;
  c10::WarningUtils::WarningHandlerGuard guard(&handler);
  sim::load_half_arithmetic();
  auto& aten = implementations("aten", kNpu);
  replace_kernels(aten, implementations("aten", DispatchKey::AutogradPrivateUse1));
  sim::register_own_aten_kernels(aten);
  sim::register_npu_kernels(implementations("npu", kNpu));
}

}  // namespace

// Returns what went wrong, or a null pointer.
extern "C" const char* npu_sim_bring_up() {
  static std::string complaint;
  try {
    bring_up();
    return nullptr;
  } catch (const std::exception& error) {
    complaint = error.what();
    return complaint.c_str();
  }
}
