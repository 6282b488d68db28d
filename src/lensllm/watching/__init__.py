"""Whether a run elsewhere keeps the forecast of a selection."""

from lensllm.watching.expected import Expected
from lensllm.watching.verdict import Verdict, judge
from lensllm.watching.watch import watch

__all__ = ["Expected", "Verdict", "judge", "watch"]
