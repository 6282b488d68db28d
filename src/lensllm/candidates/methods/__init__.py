"""Ways to tune a model, one a file."""

from lensllm.candidates.methods.base import Method
from lensllm.candidates.methods.full import Full
from lensllm.candidates.methods.lora import Lora
from lensllm.candidates.methods.none import NoTuning
from lensllm.candidates.methods.qlora import Qlora

__all__ = ["Full", "Lora", "Method", "NoTuning", "Qlora"]
