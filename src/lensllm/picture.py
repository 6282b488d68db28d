"""A small picture of curves as SVG, for notebooks: no script, no network, the ink of the page around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from lensllm.arrays import Floats
from lensllm.text import visible

COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf")
QUIET = "#8f96a3"
LEADING = 5
"""Of more candidates than there are colours so many have one."""
WIDTH, HEIGHT = 560, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 10, 34
NEAREST = 34
"""Pixels between two sizes on the axis at the least."""


@dataclass(frozen=True)
class Line:
    """Losses over sizes.

    Attributes:
        name: whose they are.
        sizes: numbers of training examples, ascending, shape (S,); 0 has no place on the axis and is left out.
        losses: shape (S,), NaN where there is none.
        ahead: sizes of a forecast, ascending, shape (F,).
        forecast: the losses there, shape (F,).
        interval: low and high end at the last of them; empty without one.
    """

    name: str
    sizes: Floats
    losses: Floats
    ahead: Floats = field(default_factory=lambda: np.zeros(0))
    forecast: Floats = field(default_factory=lambda: np.zeros(0))
    interval: tuple[float, ...] = ()


def colours(count: int) -> list[str]:
    """A colour for each candidate, the first one first; grey for those that have none of their own."""
    own = count if count <= len(COLOURS) else LEADING
    return [*COLOURS[:own], *[QUIET] * (count - own)]


def picture(lines: Sequence[Line], unit: str) -> str:
    """The lines as SVG, measured ones drawn through and forecasts dashed; empty where there is nothing to draw.

    >>> drawn = picture([Line("a", np.array([50, 100]), np.array([1.6, 1.5]))], "nats a byte")
    >>> drawn.startswith("<svg"), "http" in drawn.replace("http://www.w3.org/2000/svg", "")
    (True, False)
    """
    axes = _Axes.of(lines)
    if axes is None:
        return ""
    drawn = [axes.drawn(unit)]
    for line, colour in reversed([*zip(lines, colours(len(lines)), strict=True)]):
        drawn.append(f'<g stroke="{colour}" fill="{colour}"><title>{escape(visible(line.name))}</title>')
        drawn += [axes.path(line.sizes, line.losses), axes.path(line.ahead, line.forecast, dashed=True)]
        drawn += [axes.dots(line.sizes, line.losses), axes.whisker(line), "</g>"]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'style="max-width:100%" font-size="11" font-family="sans-serif" stroke-width="1.6">{"".join(drawn)}</svg>'
    )


@dataclass(frozen=True)
class _Axes:
    """Where a size and a loss stand: log2 of the size, the loss as it is.

    Attributes:
        sizes: that are written down: what was measured, and both ends of the forecasts.
        low: loss at the lower edge.
        high: at the upper one.
    """

    sizes: Floats
    low: float
    high: float

    @classmethod
    def of(cls, lines: Sequence[Line]) -> _Axes | None:
        points = [
            point for line in lines for point in (*_known(line.sizes, line.losses), *_known(line.ahead, line.forecast))
        ]
        if not points:
            return None
        ends = [line.ahead[[0, -1]] for line in lines if line.ahead.size]
        sizes = np.unique(np.concatenate([*(line.sizes for line in lines), *ends]))
        sizes = sizes[sizes > 0]
        losses = np.array([*(loss for _, loss in points), *(end for line in lines for end in line.interval)])
        losses = losses[np.isfinite(losses)]
        room = 0.04 * (np.ptp(losses) or abs(losses[0]) or 1.0)
        return cls(sizes, float(losses.min() - room), float(losses.max() + room))

    def x(self, size: float) -> float:
        span = math.log2(self.sizes[-1] / self.sizes[0])
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log2(size / self.sizes[0]) / span if span else 0.5)

    def y(self, loss: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - loss) / (self.high - self.low)

    def drawn(self, unit: str) -> str:
        """Grid, numbers and what they are."""
        step = _step((self.high - self.low) / 4)
        found = []
        for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1):
            y = self.y(k * step)
            found.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="currentColor" opacity="0.15"/>')
            text = f"{k * step:.{max(0, -math.floor(math.log10(step)))}f}"
            found.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end" fill="currentColor">{text}</text>')
        last = math.inf
        for size in self.sizes[::-1]:
            if last - (x := self.x(size)) < NEAREST:
                continue
            last = x
            at = f'x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle"'
            found.append(f'<text {at} fill="currentColor">{size:,.0f}</text>')
        middle = f'x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle"'
        return "".join(found) + f'<text {middle} fill="currentColor">training examples; {escape(unit)}</text>'

    def path(self, sizes: Floats, losses: Floats, *, dashed: bool = False) -> str:
        points = [f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in _known(sizes, losses)]
        how = ' stroke-dasharray="4 3"' if dashed else ""
        return f'<path d="M{"L".join(points)}" fill="none"{how}/>' if len(points) > 1 else ""

    def dots(self, sizes: Floats, losses: Floats) -> str:
        known = [(self.x(x), self.y(y)) for x, y in _known(sizes, losses)]
        return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" stroke="none"/>' for x, y in known)

    def whisker(self, line: Line) -> str:
        """The interval at the end of the forecast."""
        if not line.interval or not np.isfinite([*line.interval, line.forecast[-1]]).all():
            return ""
        x, (low, high) = self.x(line.ahead[-1]), map(self.y, line.interval)
        return f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" opacity="0.45" stroke-width="3"/>'


def _known(sizes: Floats, losses: Floats) -> list[tuple[float, float]]:
    """The points that have a place."""
    return [(x, y) for x, y in zip(sizes, losses, strict=True) if x > 0 and np.isfinite(y)]


def _step(least: float) -> float:
    """The next of 1, 2, 5, 10, ..."""
    ten = 10.0 ** math.floor(math.log10(least))
    return next(times * ten for times in (1, 2, 5, 10) if times * ten >= least * (1 - 1e-9))
