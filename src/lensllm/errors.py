"""The errors that are a user's to mend: one sentence for people, the numbers in it for programs."""

from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """Something the user gave cannot be used: the message says what, where and what to do.

    The command line prints the message alone and exits with code 2. The kinds below carry what the message speaks of.

    >>> from lensllm import Curves
    >>> try:
    ...     Curves(("a",), [50, 100], [[2.0, 1.9]]).at(200)
    ... except InputError as error:
    ...     print(error)
    nothing was measured at 200 examples: the sizes are 50, 100
    """


class BudgetTooSmall(InputError):
    """A budget that does not pay the first runs of every candidate.

    Attributes:
        budget: what may be spent, in the unit it was given in (a part of fine-tuning everything, FLOPs or hours).
        smallest: the smallest budget that is enough, in the same unit.
    """

    def __init__(self, message: str, budget: float, smallest: float) -> None:
        super().__init__(message)
        self.budget = budget
        self.smallest = smallest


class TooFewExamples(InputError):
    """More examples are needed than there are.

    Attributes:
        asked: number of examples asked for.
        available: number of examples that there are.
    """

    def __init__(self, message: str, asked: int, available: int) -> None:
        super().__init__(message)
        self.asked = asked
        self.available = available


class NothingMeasured(InputError):
    """No candidate is left to choose from.

    Attributes:
        reasons: why each candidate failed, by its name.
    """

    def __init__(self, message: str, reasons: dict[str, str]) -> None:
        super().__init__(message)
        self.reasons = reasons


class StoreError(InputError):
    """A store of runs that cannot be used.

    Attributes:
        path: of its file.
    """

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class DamagedRecord(StoreError):
    """A record of the store that is not what was written.

    Attributes:
        key: of the record.
    """

    def __init__(self, message: str, path: Path, key: str) -> None:
        super().__init__(message, path)
        self.key = key


class HubAway(InputError):
    """The hub cannot be reached: no answer to anything."""


class HubBusy(InputError):
    """The hub answers that too much was asked of it.

    Attributes:
        seconds: that it asks to wait; None where it does not say.
    """

    def __init__(self, message: str, seconds: float | None) -> None:
        super().__init__(message)
        self.seconds = seconds
