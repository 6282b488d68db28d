import numpy as np
import pytest

from lensllm.curves import Curves
from lensllm.planning.phases import phases
from lensllm.report.theory_figures import bound_figure, layers_figure, slopes_figure
from lensllm.theory.bound import Bound, LayerTerm, fit_decay

SIZES = (50, 100, 200)


@pytest.fixture
def bounds():
    terms = [tuple(LayerTerm(f"l{i}", 4, 1.0, h, h / 2, h / 3, 3) for i, h in enumerate((0.1, 0.2))) for _ in SIZES]
    return [
        Bound("m", n, 1.0, 1.1 - 0.15 * (n == 200), 2.0, False, t, 8, 1.0) for n, t in zip(SIZES, terms, strict=True)
    ]


def test_the_terms_are_drawn_as_they_are(bounds):
    traces = {trace.name: trace for trace in bound_figure(bounds, fit_decay(bounds)).data}
    assert list(traces["bound"].y) == [b.value for b in bounds]
    assert list(traces["test loss"].y) == [b.test_loss for b in bounds]
    np.testing.assert_allclose(traces["bound - training loss"].y, [b.value - b.train_loss for b in bounds])
    gap = np.array(traces["true gap (test - training)"].y)
    np.testing.assert_allclose(gap[:2], 0.1)
    assert np.isnan(gap[2])
    assert "C3 n^-beta3 (7)" in traces
    assert "C3 n^-beta3 (7)" not in {trace.name for trace in bound_figure(bounds[:1], None).data}


def test_every_layer_is_drawn_with_its_interval(bounds):
    drawn = [trace for trace in layers_figure(bounds).data if trace.error_y.arrayminus is not None]
    assert [trace.name for trace in drawn] == ["l0", "l1"]
    np.testing.assert_allclose(drawn[1].error_y.arrayminus, 0.1)


def test_phases_are_shaded_and_names_are_text():
    sizes = 50.0 * 2 ** np.arange(8)
    losses = 1.7 * 400**0.9 / (400**0.9 + sizes**0.9) + 0.3
    curves = Curves(("<b>a", "b"), sizes, np.array([losses, np.where(sizes < 200, losses, np.nan)]))
    found = phases(curves)
    figure = slopes_figure(curves, found)
    low, high = found[0].by_law.low, found[0].by_law.high
    assert len(figure.layout.shapes) == 2
    assert figure.layout.shapes[0].x1 == figure.layout.shapes[1].x0 == pytest.approx(low)
    assert figure.layout.shapes[1].x1 == pytest.approx(high)
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["&lt;b&gt;a: power", "b: unknown"]
