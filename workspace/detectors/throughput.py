"""Training speed that others published of the full-scale detectors, for estimates of cost where nothing was measured.

Each figure is as its page prints it, turned into pictures a second on one device. They are of older software, and of
training alone: evaluation is not in them.
"""

from dataclasses import dataclass

from workspace.spec import DeviceKind


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """A published training speed.

    Attributes:
        detector: key of ``DETECTORS``, at full scale.
        device: the hardware's name, as people say it.
        precision: that it was trained in; mixed precision counts as ``fp16``.
        pictures: a second, on each of the eight (FCOS on the V100: four) devices that were trained on together.
        source: the page.
    """

    detector: str
    kind: DeviceKind
    device: str
    precision: str
    pictures: float
    source: str


def _ascend_910(detector: str, pictures: float, source: str) -> Throughput:
    """Ascend's model zoo says just NPU; at the time of these pages, 2022 and 2023, that was the Ascend 910."""
    return Throughput(
        detector=detector, kind="npu", device="Ascend 910", precision="fp16", pictures=pictures, source=source
    )


def _atlas_800t_a2(precision: str, pictures: float) -> Throughput:
    source = "https://github.com/Ascend/DrivingSDK/blob/c349d212502af008e71b6926c9005358203ada28/model_examples/FCOS/README.md"
    return Throughput(
        detector="fcos", kind="npu", device="Atlas 800T A2", precision=precision, pictures=pictures, source=source
    )


def _v100(detector: str, pictures: float, source: str) -> Throughput:
    return Throughput(
        detector=detector, kind="cuda", device="Tesla V100", precision="fp32", pictures=pictures, source=source
    )


_MMDETECTION = "https://github.com/open-mmlab/mmdetection/blob"
_MODEL_ZOO = f"{_MMDETECTION}/21e7e75fe840bc21446def2bff339900ccea9579/MODEL_ZOO.md"
_ASCEND_ZOO = "https://github.com/Ascend/ModelZoo-PyTorch/blob"

THROUGHPUT = (
    # 0.383 s a step of 8 x 8 pictures with the head as it is; Ascend's rewritten head takes 0.13 s.
    _ascend_910("ssd300", 8 / 0.383, f"{_MMDETECTION}/fae4d7aa5a2ed3dde8d401ca5d439fc29abe0a85/docs/en/device/npu.md"),
    # 0.257 s a step of 192 pictures.
    _ascend_910(
        "ssdlite",
        24 / 0.257,
        f"{_ASCEND_ZOO}/b3af8737f36be38b2dbe98a2725a9bd0a90a9ab2/PyTorch/built-in/cv/detection/SSD_for_PyTorch/README.md",
    ),
    _ascend_910(
        "retinanet",
        112 / 8,
        f"{_ASCEND_ZOO}/4710905af4e2f5c07f0f2de3b5f6da31d5b58bfb/PyTorch/built-in/cv/detection/RetinaNet_for_PyTorch/"
        "README.md",
    ),
    _ascend_910(
        "fcos",
        44.81 / 8,
        f"{_ASCEND_ZOO}/ca890306d672feb06ba596f64dc77aeccc1520e6/PyTorch/contrib/cv/detection/FCOS/README.md",
    ),
    _ascend_910(
        "solov2",
        15.34 / 8,
        f"{_ASCEND_ZOO}/96e6fd7ba811ae35dc9da61d5ce027943ab49d41/PyTorch/contrib/cv/detection/SOLOv2/README.md",
    ),
    _atlas_800t_a2("fp16", 214 / 8),
    _atlas_800t_a2("fp32", 157 / 8),
    _v100("ssd300", 8 / 0.256, _MODEL_ZOO),
    _v100("ssd512", 8 / 0.412, _MODEL_ZOO),
    _v100("retinanet", 2 / 0.308, _MODEL_ZOO),
    _v100("fcos", 4 / 0.396, f"{_MMDETECTION}/v1.0.0/configs/fcos/README.md"),
)
