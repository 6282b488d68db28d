"""A model and how it is tuned: specification, safe loading, features."""

from lensllm.candidates.candidate import Candidate, find_candidate, find_candidates
from lensllm.candidates.methods import METHODS, Full, Method, NoTuning

__all__ = ["METHODS", "Candidate", "Full", "Method", "NoTuning", "find_candidate", "find_candidates"]
