"""COCO-format data sets with three splits: train, search (for trials) and eval (for the verdict alone)."""

from pathlib import Path

from workspace.datasets.dataset import SPLITS, DataSet, Split, load
from workspace.datasets.description import SIZE_BINS, SplitCounts, describe
from workspace.datasets.fidelity import subset

__all__ = ["SIZE_BINS", "SPLITS", "DataSet", "Split", "SplitCounts", "describe", "open_dataset", "subset"]


def open_dataset(data_dir: Path | None, work_dir: Path) -> DataSet:
    """The data set in that COCO-format folder, or the embedded one for ``None``; made or checked on first use.

    Args:
        data_dir: ``images/`` and ``annotations/{train,val}.json``, or COCO's own layout; see :mod:`.coco`.
        work_dir: prepared splits are kept under its ``data/``.

    Raises: UserError when the folder is unusable, or the work folder cannot be written.
    """
    from workspace.datasets import shapes
    from workspace.datasets.folder import open_folder
    from workspace.datasets.prepared import prepared

    work_dir = work_dir.resolve()
    if data_dir is not None:
        return open_folder(data_dir, work_dir)
    folder = work_dir / "data" / f"{shapes.NAME}-{shapes.VERSION}"
    digest = prepared(folder, shapes.make)
    dataset, _ = load(folder, name=shapes.NAME, digest=digest, images={split: folder / split for split in SPLITS})
    return dataset
