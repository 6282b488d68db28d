"""What forecasts where nothing else was asked for."""

from __future__ import annotations

import numpy as np

from lensllm.curves import Curves
from lensllm.selectors.growing_slopes import GrowingSlopes
from lensllm.selectors.growing_slopes_kernel import SMALLEST, GrowingSlopesKernel
from lensllm.selectors.kernel_only import PREFIX, kernel_sizes
from lensllm.selectors.prior_fitted import PriorFitted

FORECAST_VERSION = 5
"""Raised whenever the default forecast changes, so that decisions taken with another are told apart. 1: three programs
sampled it (0.1.0). 2: one forecast of joint paths, in which one odd reading moves nobody else, and the error scales
that go with it. 3: a network fitted to the prior says what each candidate may do beside the others. 4: also where
some were measured further; pools that fall steeply together go on. 5: that of scores listens to the losses, too."""


def default_selector(curves: Curves) -> PriorFitted:
    """What forecasts where nothing else was asked for, with the kernel curve where candidates have one.

    Example:
        >>> selector = default_selector(Curves(("a",), [50, 100], [[2.0, 1.9]]))
        >>> selector.name, selector.slopes.name
        ('prior_fitted', 'growing_slopes')
    """
    columns = [f"{PREFIX}{d}" for d in kernel_sizes(curves) if d >= SMALLEST]
    probed = bool(columns) and np.isfinite(curves.features[columns].to_numpy(float)).any()
    return PriorFitted(GrowingSlopesKernel() if probed else GrowingSlopes())
