"""NMS is mmcv's own where it has one, and on the CPU otherwise, with the same boxes kept.

``meta`` stands for a device that mmcv has no operator for: nothing here computes on one.
"""

import logging
from collections.abc import Iterator

import pytest
import torch
from mmcv.ops import batched_nms
from mmdet.models.dense_heads import base_dense_head

from workspace.training import nms


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    yield
    base_dense_head.batched_nms = batched_nms


def test_a_cpu_suppresses_with_mmcv_s_own() -> None:
    assert nms.suppress_where_possible("cpu") == "cpu"
    assert base_dense_head.batched_nms is batched_nms


def test_a_device_without_an_operator_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert nms.suppress_where_possible("meta") == "cpu"
    assert caplog.messages == ["mmcv has no NMS for meta: boxes are suppressed on the CPU"]
    assert base_dense_head.batched_nms is not batched_nms
    nms.suppress_where_possible("cpu")
    assert base_dense_head.batched_nms is batched_nms


def test_what_goes_to_the_cpu_comes_back_the_same() -> None:
    nms.suppress_where_possible("meta")
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(200, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + 5 + 20 * torch.rand(200, 2, generator=generator)], 1)
    scores, labels = torch.rand(200, generator=generator), torch.randint(0, 3, (200,), generator=generator)
    arguments = (boxes, scores, labels, dict(type="nms", iou_threshold=0.5))
    for ours, theirs in zip(base_dense_head.batched_nms(*arguments), batched_nms(*arguments), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.device == boxes.device
    assert len(ours) < 200
