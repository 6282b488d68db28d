"""The forecast methods that a selection can be asked for by name: those that say how sure they are."""

from __future__ import annotations

from lensllm.errors import InputError
from lensllm.selectors.base import Selector
from lensllm.selectors.gaussian_process import GaussianProcess
from lensllm.selectors.growing_slopes import GrowingSlopes
from lensllm.selectors.prior_fitted import PriorFitted
from lensllm.selectors.rectified_law import RectifiedLawSelector

NAMED: tuple[type[Selector], ...] = (PriorFitted, GrowingSlopes, GaussianProcess, RectifiedLawSelector)


def selector_named(name: str) -> Selector | None:
    """The selector of a name; None for an empty one, which leaves the choice to the curves (`default_selector`).

    Raises:
        InputError: if there is no such selector.

    >>> selector_named("gaussian_process").name
    'gaussian_process'
    """
    known = {one.name: one for one in NAMED}
    if name and name not in known:
        raise InputError(f"no selector is named {name!r}: there are {', '.join(known)}")
    return known[name]() if name else None
