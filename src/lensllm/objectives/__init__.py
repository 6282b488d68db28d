"""What candidates are ranked by, one objective a file."""

from lensllm.objectives.base import Objective
from lensllm.objectives.loss import Loss

OBJECTIVES: tuple[Objective, ...] = (Loss(),)

__all__ = ["OBJECTIVES", "Loss", "Objective"]
