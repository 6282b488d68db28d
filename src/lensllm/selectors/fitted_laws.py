"""The law of every curve, fitted once: a forecast that is made again with one point more refits one curve."""

from __future__ import annotations

import numpy as np

from lensllm.arrays import Floats
from lensllm.laws import Prior, RectifiedLaw

FURTHEST = 700.0  # of a logarithm that exp can still take
AT_ONCE = 1000  # curves fitted together; a fit takes some 100 kB a curve while it lasts


class FittedLaws:
    """Maximum a posteriori fits of L(D) = B / (F + D^beta) + E (Lin et al. 2024), kept by the points fitted.

    A candidate's law depends on its own points alone, so what was fitted for one forecast serves the next.

    Args:
        prior: of all candidates, or of each in the order of the rows; the general one if None.
    """

    def __init__(self, prior: Prior | None = None) -> None:
        self.prior = prior if prior is not None else Prior()
        self._each = any(np.ndim(value) > 0 for value in (*self.prior.log_f, *self.prior.log_beta))
        self._fits: dict[bytes, tuple[float, ...]] = {}

    def log_losses(self, x: Floats, y: Floats, at: Floats) -> Floats:
        """Log losses at log2 sizes `at`, shape (K, M), by the laws through y (K, S) at x (S,).

        NaN in y is not measured; NaN in the result is a curve that supports no law. Curves measured at the same sizes
        are fitted together, without room for others, so that a fit is the same to the bit whatever it is made with.
        """
        seen = np.isfinite(y)
        keys = [x[row].tobytes() + values[row].tobytes() for row, values in zip(seen, y, strict=True)]
        if self._each:
            keys = [b"%d " % row + key for row, key in enumerate(keys)]
        alike: dict[bytes, list[int]] = {}
        for row, key in enumerate(keys):
            if key not in self._fits:
                alike.setdefault(seen[row].tobytes(), []).append(row)
        for new in alike.values():
            for start in range(0, len(new), AT_ONCE):
                rows = new[start : start + AT_ONCE]
                at_hand = seen[rows[0]]
                law = RectifiedLaw(prior=self.prior.of(rows), starts=1)
                law.fit(2 ** x[at_hand], np.exp(y[np.ix_(rows, at_hand)]))
                fits = zip(*(law.params_[name] for name in ("B", "F", "beta", "E")), strict=True)
                self._fits.update(zip([keys[row] for row in rows], fits, strict=True))
        b, f, beta, e = np.array([self._fits[key] for key in keys]).reshape(-1, 4).T[:, :, None]
        return np.asarray(np.log(b / (f + np.exp(np.minimum(beta * at * np.log(2), FURTHEST))) + e))
