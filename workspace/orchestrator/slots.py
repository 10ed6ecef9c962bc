"""The places where runs are trained: which are free, and which are not to be used any more."""

_PATIENCE = 2
"""Runs that fail in a row for their device before it is set aside."""


class Slots:
    """Numbers from 0 on, one for each run at a time."""

    def __init__(self, count: int) -> None:
        self._free = set(range(count))
        self._used: set[int] = set()
        self._failed: dict[int, set[str]] = {slot: set() for slot in range(count)}

    @property
    def any_free(self) -> bool:
        return bool(self._free)

    @property
    def any_left(self) -> bool:
        """Whether not all of them are set aside."""
        return bool(self._free or self._used)

    def any_free_but(self, slot: int | None) -> bool:
        """Whether another one than that is free, or it is and there is no other."""
        return bool(self._free - {slot}) or (bool(self._free) and not self._used)

    def take(self, other_than: int | None = None) -> int:
        """The first one that is free, another than that if there is one."""
        slot = min(self._free, key=lambda slot: (slot == other_than, slot))
        self._free.remove(slot)
        self._used.add(slot)
        return slot

    def give_back(self, slot: int) -> None:
        self._used.remove(slot)
        self._free.add(slot)

    def worked(self, slot: int) -> None:
        """A run ended there as it should."""
        self._failed[slot].clear()

    def failed(self, slot: int, run: str) -> bool:
        """A run failed for that device, which is free again or, with this run, set aside; whether it is."""
        self._failed[slot].add(run)
        if len(self._failed[slot]) < _PATIENCE:
            return False
        self._free.discard(slot)
        return True
