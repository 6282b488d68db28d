"""A model and how it is tuned: specification, safe loading, features."""

from lensllm.candidates.candidate import Candidate, find_candidate, find_candidates

__all__ = ["Candidate", "find_candidate", "find_candidates"]
