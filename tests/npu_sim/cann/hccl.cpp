// HCCL: there, so that torch_npu loads, and refusing to communicate. Processes of a simulated run talk through gloo.

extern "C" {

// torch_npu hands on whether results must be deterministic. Nothing is communicated, so nothing varies.
int HcclSetConfig(int, int) {
  return 0;
}

// The calls that begin communication; torch_npu makes no other before one of them has succeeded.
// 5 is HCCL_E_NOT_SUPPORT of hccl/hccl_types.h.
int HcclGetRootInfo(void*) {
  return 5;
}

int HcclCommInitAll(unsigned, int*, void**) {
  return 5;
}

int HcclCommInitRootInfoConfig(unsigned, const void*, unsigned, const void*, void**) {
  return 5;
}

int HcclCommInitClusterInfoConfig(const char*, unsigned, void*, void**) {
  return 5;
}

const char* HcclGetErrorString(int) {
  return "HCCL is not served by the simulated NPU";
}

}  // extern "C"
