// Descriptions of an operator's arguments. They stay empty, for nothing is executed from them: the call that would
// execute them, aclopCompileAndExecute, refuses and names the operator.

#include "simulation.h"

#include <acl/acl_op.h>

namespace {

char nothing;

template <typename Description>
Description* empty_description() {
  return reinterpret_cast<Description*>(&nothing);
}

}  // namespace

extern "C" {

aclDataBuffer* aclCreateDataBuffer(void*, size_t) {
  return empty_description<aclDataBuffer>();
}

aclError aclDestroyDataBuffer(const aclDataBuffer*) {
  return ACL_SUCCESS;
}

aclTensorDesc* aclCreateTensorDesc(aclDataType, int, const int64_t*, aclFormat) {
  return empty_description<aclTensorDesc>();
}

void aclDestroyTensorDesc(const aclTensorDesc*) {}

void aclSetTensorDescName(aclTensorDesc*, const char*) {}

aclError aclSetTensorFormat(aclTensorDesc*, aclFormat) {
  return ACL_SUCCESS;
}

aclError aclSetTensorShape(aclTensorDesc*, int, const int64_t*) {
  return ACL_SUCCESS;
}

aclError aclSetTensorPlaceMent(aclTensorDesc*, aclMemType) {
  return ACL_SUCCESS;
}

// torch_npu reads the descriptions back when it reports an operator that failed.
size_t aclGetTensorDescNumDims(const aclTensorDesc*) {
  return 0;
}

aclDataType aclGetTensorDescType(const aclTensorDesc*) {
  return ACL_DT_UNDEFINED;
}

aclFormat aclGetTensorDescFormat(const aclTensorDesc*) {
  return ACL_FORMAT_UNDEFINED;
}

aclopAttr* aclopCreateAttr() {
  return empty_description<aclopAttr>();
}

void aclopDestroyAttr(const aclopAttr*) {}

aclError aclopSetAttrBool(aclopAttr*, const char*, uint8_t) {
  return ACL_SUCCESS;
}

aclError aclopSetAttrInt(aclopAttr*, const char*, int64_t) {
  return ACL_SUCCESS;
}

aclError aclopSetAttrFloat(aclopAttr*, const char*, float) {
  return ACL_SUCCESS;
}

aclError aclopSetAttrString(aclopAttr*, const char*, const char*) {
  return ACL_SUCCESS;
}

aclError aclopSetAttrDataType(aclopAttr*, const char*, aclDataType) {
  return ACL_SUCCESS;
}

aclError aclopSetAttrListBool(aclopAttr*, const char*, int, const uint8_t*) {
  return ACL_SUCCESS;
}

aclError aclopSetAttrListInt(aclopAttr*, const char*, int, const int64_t*) {
  return ACL_SUCCESS;
}

aclError aclopSetAttrListFloat(aclopAttr*, const char*, int, const float*) {
  return ACL_SUCCESS;
}

aclError aclopSetAttrListListInt(aclopAttr*, const char*, int, const int*, const int64_t* const[]) {
  return ACL_SUCCESS;
}

}  // extern "C"
