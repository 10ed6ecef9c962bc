// What torch_npu links against and the simulation does not serve: each call fails and says so. Functions that
// torch_npu looks up by name while it runs are simply not there, as in a CANN that is too old to have them.
//
// CANN's headers are not included: one macro stands for all signatures, of which only the kind of the result matters.

namespace sim {
int unserved(const char* call);
}

#define UNSERVED(name)           \
  extern "C" int name() {        \
    return sim::unserved(#name); \
  }

UNSERVED(aclGetTensorDescDimV2)
UNSERVED(aclmdlFinalizeDump)
UNSERVED(aclmdlInitDump)
UNSERVED(aclmdlSetDump)
UNSERVED(aclrtBinaryGetFunction)
UNSERVED(aclrtBinaryLoadFromData)
UNSERVED(aclrtDeviceGetBareTgid)
UNSERVED(aclrtFreePhysical)
UNSERVED(aclrtGetFunctionAddr)
UNSERVED(aclrtMallocPhysical)
UNSERVED(aclrtMapMem)
UNSERVED(aclrtMemExportToShareableHandle)
UNSERVED(aclrtMemImportFromShareableHandle)
UNSERVED(aclrtMemSetPidToShareableHandle)
UNSERVED(aclrtProcessReport)
UNSERVED(aclrtReleaseMemAddress)
UNSERVED(aclrtReserveMemAddress)
UNSERVED(aclrtUnmapMem)
UNSERVED(rtDevBinaryRegister)
UNSERVED(rtFunctionRegister)
UNSERVED(rtGetC2cCtrlAddr)
UNSERVED(rtKernelLaunch)
