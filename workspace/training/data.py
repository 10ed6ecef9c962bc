"""Order and augmentation of training data as functions of (seed, epoch, picture).

MMEngine draws augmentation from streams whose position depends on what came before, on the number of loader
processes and on interruptions. Here every sample of every epoch has a seed of its own, so that a run that goes on
after a kill, or is loaded by another number of processes, sees the same pictures to the bit.
"""

import pickle
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.datasets import CocoDataset
from mmengine.dataset import BaseDataset
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import BatchSampler, Dataset, Sampler

_FIXED_TRANSFORMS = ("LoadImageFromFile", "LoadAnnotations", "Resize")


def derive_seed(*parts: int) -> int:
    """A 32-bit seed from integers, well mixed (numpy's ``SeedSequence``)."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


@DATASETS.register_module()
class CachedCocoDataset(CocoDataset):  # type: ignore[misc]
    """`CocoDataset` that keeps what the deterministic head of its pipeline made of each picture.

    Loading, decoding and resizing cost a small model more than its training step does. Samples are kept pickled, so
    that no transform can change them, until ``cache_mib`` is full; the rest is loaded anew each time.
    """

    def __init__(self, *args: Any, cache_mib: int, **kwargs: Any) -> None:
        self._cache: dict[int, bytes] = {}
        self._room = cache_mib * 2**20
        super().__init__(*args, **kwargs)
        transforms = self.pipeline.transforms
        fixed = 0
        while fixed < len(transforms) and type(transforms[fixed]).__name__ in _FIXED_TRANSFORMS:
            fixed += 1
        self._fixed, self._varying = transforms[:fixed], transforms[fixed:]

    def prepare_data(self, idx: int) -> Any:
        sample = self._prepared(idx)
        for transform in self._varying:
            if sample is None:
                return None
            sample = transform(sample)
        return sample

    def _prepared(self, idx: int) -> Any:
        stored = self._cache.get(idx)
        if stored is not None:
            return pickle.loads(stored)
        sample = self.get_data_info(idx)
        for transform in self._fixed:
            if sample is None:
                return None
            sample = transform(sample)
        stored = pickle.dumps(sample, protocol=pickle.HIGHEST_PROTOCOL)
        if len(stored) <= self._room:
            self._room -= len(stored)
            self._cache[idx] = stored
        return sample


@DATASETS.register_module()
class SeededDataset(Dataset):  # type: ignore[type-arg]
    """Wraps a dataset: item ``epoch * len + index`` is picture ``index`` as augmented in ``epoch``."""

    def __init__(self, dataset: dict[str, Any], seed: int) -> None:
        self.dataset: BaseDataset = DATASETS.build(dataset)
        self._seed = seed

    def full_init(self) -> None:
        self.dataset.full_init()

    @property
    def metainfo(self) -> dict[str, Any]:
        return dict(self.dataset.metainfo)

    def get_data_info(self, item: int) -> dict[str, Any]:
        return dict(self.dataset.get_data_info(item % len(self)))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: int) -> Any:
        epoch, index = divmod(item, len(self))
        streams = random.getstate(), np.random.get_state()
        seed = derive_seed(self._seed, epoch, index)
        random.seed(seed)
        np.random.seed(seed)
        try:
            return self.dataset[index]
        finally:
            random.setstate(streams[0])
            np.random.set_state(streams[1])


@DATA_SAMPLERS.register_module()
class EpochSampler(Sampler):  # type: ignore[type-arg]
    """Items of a `SeededDataset` in an order drawn from (seed, epoch), the same in every process of a run."""

    def __init__(self, dataset: SeededDataset, seed: int) -> None:
        self.dataset = dataset
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by MMEngine's ``DistSamplerSeedHook`` before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)
        generator = torch.Generator().manual_seed(derive_seed(self._seed, self._epoch))
        order: Sequence[int] = torch.randperm(size, generator=generator).tolist()
        for index in order:
            yield self._epoch * size + index


@DATA_SAMPLERS.register_module()
class DealtBatches(Sampler):  # type: ignore[type-arg]
    """One process's part of each batch: the batches are formed as by a single process, and dealt out in turn.

    So a step sees the same pictures however many processes share it, those of the last, smaller batch of an epoch
    too. Where that one has fewer pictures than there are processes, some see a picture that another sees as well.

    Args:
        batch_size: pictures of a step, over all processes.
        grouped: configuration of the batch sampler of a single process; ``None`` takes pictures as they come.
    """

    def __init__(self, sampler: EpochSampler, batch_size: int, grouped: dict[str, Any] | None) -> None:
        self.sampler = sampler  # where MMEngine looks for ``set_epoch``
        self._whole: BatchSampler = (
            BatchSampler(sampler, batch_size, drop_last=False)
            if grouped is None
            else DATA_SAMPLERS.build(grouped, default_args=dict(sampler=sampler, batch_size=batch_size))
        )
        self._rank, self._world_size = get_dist_info()

    def __len__(self) -> int:
        return len(self._whole)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._whole:
            yield batch[self._rank :: self._world_size] or [batch[self._rank % len(batch)]]
