"""How much data is needed, what twice the data would bring, and which candidates are worth their cost."""

from lensllm.planning.curve_samples import CurveSamples, plan_sizes
from lensllm.planning.pareto import Cost, Offer
from lensllm.planning.plan import Doubling, Need, Plan, doubling_sentence, doublings, offers_of, plan
from lensllm.planning.score_plan import ScoreDoubling, ScorePlan, plan_score

__all__ = [
    "Cost",
    "CurveSamples",
    "Doubling",
    "Need",
    "Offer",
    "Plan",
    "ScoreDoubling",
    "ScorePlan",
    "doubling_sentence",
    "doublings",
    "offers_of",
    "plan",
    "plan_score",
    "plan_sizes",
]
