"""What candidates are ranked by, one objective a file."""

from lensllm.objectives.base import Objective
from lensllm.objectives.between import Between
from lensllm.objectives.loss import Loss
from lensllm.objectives.score import ScoreObjective

OBJECTIVES: tuple[Objective, ...] = (Loss(),)

__all__ = ["OBJECTIVES", "Between", "Loss", "Objective", "ScoreObjective"]
