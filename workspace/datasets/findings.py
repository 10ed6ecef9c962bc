"""What the checks of a data set find: counted by kind, with the first few examples of each."""

from dataclasses import dataclass, field

from workspace.errors import UserError

_EXAMPLES = 3
_LONGEST = 80  # characters of an example


@dataclass
class Findings:
    """Errors stop a data set from being used; warnings and remarks are told and it is used all the same."""

    where: str
    errors: dict[str, list[str]] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def error(self, kind: str, example: str) -> None:
        self.errors.setdefault(kind, []).append(example)

    def warn(self, kind: str, example: str) -> None:
        self.warnings.setdefault(kind, []).append(example)

    def stop_on_errors(self) -> None:
        """Raises one UserError that names every kind of error, if there is any."""
        if self.errors:
            raise UserError(f"data set {self.where}: {'; '.join(_told(self.errors))}. Mend this and start again")

    def notes(self) -> list[str]:
        """One line for each kind of warning, and the remarks."""
        return _told(self.warnings) + self.remarks


def _told(kinds: dict[str, list[str]]) -> list[str]:
    lines = []
    for kind, examples in kinds.items():
        more = ", ..." if len(examples) > _EXAMPLES else ""
        lines.append(f"{kind}: {len(examples)} ({', '.join(map(_shown, examples[:_EXAMPLES]))}{more})")
    return lines


def _shown(example: str) -> str:
    """On one line, whatever a file calls itself."""
    printable = example if example.isprintable() else ascii(example)
    return printable if len(printable) <= _LONGEST else f"{printable[:_LONGEST]}..."
