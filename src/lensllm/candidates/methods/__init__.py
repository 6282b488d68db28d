"""Ways to tune a model, one a file."""

from lensllm.candidates.methods.base import Method
from lensllm.candidates.methods.full import Full
from lensllm.candidates.methods.none import NoTuning

METHODS: tuple[Method, ...] = (NoTuning(), Full())

__all__ = ["METHODS", "Full", "Method", "NoTuning"]
