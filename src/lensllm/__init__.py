"""Which pre-trained model should I fine-tune for my task, how sure are we, how much data, and what will it cost?

>>> import tempfile
>>> import lensllm
>>> models = ["gpt2-0.2m-random", "gpt2-0.2m-brown-0.3m"]
>>> few = {"sizes": [50], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}
>>> with tempfile.TemporaryDirectory() as folder:
...     selection = lensllm.select("define", models, output_dir=folder, **few)
>>> selection.sentence.split(":")[0]
'Fine-tune gpt2-0.2m-brown-0.3m on all 6,400 examples'
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lensllm import testing, zoo
    from lensllm.bound_pipeline import bound
    from lensllm.check_pipeline import check
    from lensllm.curve_callback import CurveCallback
    from lensllm.curves import Curves
    from lensllm.errors import InputError
    from lensllm.find_pipeline import find
    from lensllm.forecast import Forecast
    from lensllm.kernel_pipeline import kernel
    from lensllm.pipeline import select
    from lensllm.planning.check import Check
    from lensllm.planning.plan import plan
    from lensllm.search.callbacks import Callback
    from lensllm.selection import Selection
    from lensllm.shortlist.shortlist import Shortlist

__version__ = version("lensllm")

__all__ = [
    "Callback",
    "Check",
    "CurveCallback",
    "Curves",
    "Forecast",
    "InputError",
    "Selection",
    "Shortlist",
    "__version__",
    "bound",
    "check",
    "find",
    "kernel",
    "plan",
    "select",
    "testing",
    "zoo",
]

_HOME = {
    "Callback": "search.callbacks",
    "Check": "planning.check",
    "CurveCallback": "curve_callback",
    "Curves": "curves",
    "Forecast": "forecast",
    "InputError": "errors",
    "Selection": "selection",
    "Shortlist": "shortlist.shortlist",
    "bound": "bound_pipeline",
    "check": "check_pipeline",
    "find": "find_pipeline",
    "kernel": "kernel_pipeline",
    "plan": "planning",
    "select": "pipeline",
}


def __getattr__(name: str) -> Any:
    """Import the parts on first use, so that `import lensllm` does not wait for torch."""
    if name in ("testing", "zoo"):
        return import_module(f"lensllm.{name}")
    if name in _HOME:
        return getattr(import_module(f"lensllm.{_HOME[name]}"), name)
    raise AttributeError(f"module 'lensllm' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names alone."""
    return __all__
