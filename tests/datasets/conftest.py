from pathlib import Path

import pytest
from tiny_coco import CocoFolder


@pytest.fixture
def coco_folder(tmp_path: Path) -> CocoFolder:
    return CocoFolder(tmp_path / "cutlery")
