"""The data set, by the same checks as before a run; what they find is remembered in the work folder, as there."""

import logging

from workspace.datasets import open_dataset
from workspace.doctor.check import Answer, Checks, Request, ok, warning


def dataset(request: Request) -> Answer:
    """Raises UserError with all that is wrong with it."""
    notes = _Notes()
    logging.getLogger("workspace.datasets").addHandler(notes)
    found = open_dataset(request.data, request.work_dir)
    counts = ", ".join(f"{name} {split.pictures}" for name, split in found.splits.items())
    place = "embedded" if request.data is None else str(request.data)
    value = f"{place}: pictures: {counts}; {len(found.classes)} classes, {'masks' if found.has_masks else 'no masks'}"
    if notes.texts:
        return warning(f"{value}. {'; '.join(notes.texts)}", "python -m workspace data check DIR tells all of it")
    return ok(value)


class _Notes(logging.Handler):
    """What the checks warn of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


CHECKS: Checks = {"data set": dataset}
