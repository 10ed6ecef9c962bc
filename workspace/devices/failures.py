r"""What broken installations say, and what mends them.

Sources, by the text they are known from:

* ``libhccl.so``, ``ASCEND_OPP_PATH``, ``ASCEND_HOME_PATH``, ``torch_npu._C``, two accelerators: Ascend/pytorch,
  ``torch_npu/_init``, ``torch_npu/__init__.py`` and ``docs/zh/installation_guide/faq.md``.
* Error codes of ``PTA call acl api failed``: Ascend/pytorch, ``torch_npu/csrc/core/npu/NPUErrorCodes.h``.
* ``EI0002``, ``Socket Timeout``: Ascend/pytorch, ``docs/zh/user_guide/troubleshooting/troubleshooting_cases``.
* ``EH9999 [Init][Env]`` (CANN's compiler lacks Python packages) and static TLS: Ascend/pytorch, issue 7.
* ``ASCEND_RT_VISIBLE_DEVICES`` out of range: gpustack, issue 3352.
* ``Failed to verify the OPP``: vllm-ascend, issue 4284.
* ``-8005``, ``-8020``, ``drvErr=87`` in containers: vllm-ascend, issues 632 and 2698.
"""

import re

UNKNOWN_CURE = "read what it says; with it and this report, ask whoever looks after the machine, or this project"

_SET_ENV = "`source /usr/local/Ascend/cann/set_env.sh` (before CANN 8.5: ascend-toolkit/set_env.sh) in this shell"
_OTHER_HOLDER = (
    "the driver refuses this process: in a container, pass /dev/davinci*, davinci_manager, devmm_svm and hisi_hdc and "
    "mount the driver (docs/npu.md); see in `npu-smi info` on the host whether another container holds the device"
)

_KNOWN: tuple[tuple[str, str], ...] = (
    (
        r"(/\S*libgomp\S*): cannot allocate memory in static TLS block",
        r"load it first: export LD_PRELOAD=\1",
    ),
    (
        r"lib(hccl|ascendcl|acl_op_compiler|ge_runner|graph|acl_tdt_channel)\.so\S*: cannot open shared object file",
        f"CANN is not installed, or not on LD_LIBRARY_PATH: {_SET_ENV}",
    ),
    (
        r"libtorch_npu\.so: cannot open shared object file",
        f"mmcv is compiled for the NPU, and torch_npu does not load: {_SET_ENV}; for a CPU alone, compile mmcv without "
        "FORCE_NPU",
    ),
    (
        r"lib(ascend_hal|drvdsmi|dcmi|c_sec|mmpa)\S*: cannot open shared object file",
        "the driver's libraries are missing: install the driver on the host; in a container, mount "
        "/usr/local/Ascend/driver/lib64 and have it on LD_LIBRARY_PATH",
    ),
    (
        r"undefined symbol|version `GLIBC",
        "libraries of different versions: torch, torch_npu, CANN and mmcv must fit one another (table in docs/npu.md); "
        "build mmcv again after an exchange of torch",
    ),
    (r"ASCEND_HOME_PATH : .* does not exist|ASCEND_HOME_PATH is .* no such folder", _SET_ENV),
    (
        r"ASCEND_OPP_PATH|Failed to verify the OPP",
        f"install the operators for this chip (Ascend-cann-910b-ops or another), of the toolkit's version; {_SET_ENV}",
    ),
    (
        r"ASCEND_(RUNTIME|COMPILER)_PATH : .* does not exist",
        f"install CANN's toolkit whole, not in parts; then {_SET_ENV}",
    ),
    (
        r"ASCEND_RT_VISIBLE_DEVICES|error code is 107001",
        "list in ASCEND_RT_VISIBLE_DEVICES, from 0 on, devices that this machine, or container, has",
    ),
    (r"drvErr=87|507899|207004|-8005|-8020", _OTHER_HOLDER),
    (
        r"207006|(?i:permission denied).*/dev/",
        "put this user into the driver's group (`usermod -aG HwHiAiUser USER`) and log in again",
    ),
    (
        r"507033|Failed to start the device",
        "see `npu-smi info` for the device's health, and ~/ascend/log for the reason",
    ),
    (
        r"EH9999.*init env failed|\[Init\]\[Env\]",
        "install the Python packages that CANN's compiler needs: pip install -e .[npu]",
    ),
    (
        r"Two accelerators cannot be used",
        "exchange torch for its CPU build: torch_npu does not go with a CUDA build",
    ),
    (
        r"No module named 'torch_npu\._C'",
        "leave the folder that holds a torch_npu of its own, and run it from elsewhere",
    ),
    (
        r"EI0002|Socket Timeout",
        "a process of the run is gone or came late: the first error in its logs counts, not the last",
    ),
    (
        r"Failed to load the backend extension: torch_npu",
        f"{_SET_ENV}; to use a CPU where CANN is not, export TORCH_DEVICE_BACKEND_AUTOLOAD=0",
    ),
    (
        r"no FP32 matrix unit",
        "train the FP32 arm elsewhere, or compare FP16 recipes only: docs/npu.md, families",
    ),
    (r"libGL\.so", "install the headless OpenCV: make setup"),
)

_TELLING = re.compile(r"error|fatal|abort|fault|failed|cannot|exception", re.IGNORECASE)


def known_cure(text: str) -> str | None:
    """What to do about a failure that says this, if it is a known one."""
    for pattern, cure in _KNOWN:
        if found := re.search(pattern, text):
            return found.expand(cure) if found.re.groups and r"\1" in cure else cure
    return None


def telling_line(text: str) -> str:
    """Of all that a process said, the line that tells most: a known failure's, an error's, or else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if known_cure(line)] or [line for line in lines if _TELLING.search(line)] or lines
    return telling[-1][:300] if telling else ""
