"""Curves -> Forecast, one method a file, named as in the literature."""

from lensllm.selectors.accept_then_stop import AcceptThenStop
from lensllm.selectors.base import Selector, forecast_path
from lensllm.selectors.default import FORECAST_VERSION, default_selector
from lensllm.selectors.gaussian_process import GaussianProcess
from lensllm.selectors.growing_slopes import GrowingSlopes
from lensllm.selectors.growing_slopes_kernel import GrowingSlopesKernel
from lensllm.selectors.kernel_only import KernelOnly
from lensllm.selectors.lensllm_law import LensLLMLawSelector
from lensllm.selectors.log_me import LogMe
from lensllm.selectors.model_size import ModelSize
from lensllm.selectors.nlp_metrics import NlpMetrics
from lensllm.selectors.prior_fitted import PriorFitted
from lensllm.selectors.rectified_law import RectifiedLawSelector
from lensllm.selectors.scores_beside_losses import ScoresBesideLosses
from lensllm.selectors.slope_growth import SlopeGrowth
from lensllm.selectors.sub_tuning import SubTuning
from lensllm.selectors.vanilla_law import VanillaLawSelector
from lensllm.selectors.zero_shot import ZeroShot

__all__ = [
    "FORECAST_VERSION",
    "AcceptThenStop",
    "GaussianProcess",
    "GrowingSlopes",
    "GrowingSlopesKernel",
    "KernelOnly",
    "LensLLMLawSelector",
    "LogMe",
    "ModelSize",
    "NlpMetrics",
    "PriorFitted",
    "RectifiedLawSelector",
    "ScoresBesideLosses",
    "Selector",
    "SlopeGrowth",
    "SubTuning",
    "VanillaLawSelector",
    "ZeroShot",
    "default_selector",
    "forecast_path",
]
