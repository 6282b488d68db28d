"""A model and how it is tuned: found, checked at the door, loaded."""

from lensllm.candidates.candidate import Candidate
from lensllm.candidates.find import Found, Refused, admit_candidates, find_candidate, find_candidates

__all__ = ["Candidate", "Found", "Refused", "admit_candidates", "find_candidate", "find_candidates"]
