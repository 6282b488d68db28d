"""Parametric learning curves and their fits."""

from lensllm.laws.base import Law, Prior
from lensllm.laws.lensllm import LensLLMLaw
from lensllm.laws.rectified import RectifiedLaw
from lensllm.laws.vanilla import VanillaLaw

__all__ = ["Law", "LensLLMLaw", "Prior", "RectifiedLaw", "VanillaLaw"]
