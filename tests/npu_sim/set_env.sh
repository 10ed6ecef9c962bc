# shellcheck shell=bash
# To be sourced from where it was installed, as the set_env.sh of a CANN.
ASCEND_HOME_PATH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export ASCEND_HOME_PATH
export ASCEND_OPP_PATH=$ASCEND_HOME_PATH/opp
export LD_LIBRARY_PATH=$ASCEND_HOME_PATH/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export NPU_SIM_HALF=$ASCEND_HOME_PATH/lib64/half_arithmetic.so
# torch_npu looks for its own beside torch, which is in another environment here.
export TORCH_ACL_INIT_CONFIG_PATH=$ASCEND_HOME_PATH/acl.json
# Operators run in the calling thread, so that one that is not served fails where it was called.
export TASK_QUEUE_ENABLE=0
# torch_npu hands its HF32 switches to the compiler of operators at once, where the simulated kernels look for them.
export ACL_OP_INIT_MODE=0
