"""A model and how it is tuned: found, checked at the door, loaded."""

from lensllm.candidates.candidate import Candidate
from lensllm.candidates.find import Found, Refused, admit_candidates, find_candidate, find_candidates
from lensllm.candidates.methods import METHODS, Full, Method, NoTuning

__all__ = [
    "METHODS",
    "Candidate",
    "Found",
    "Full",
    "Method",
    "NoTuning",
    "Refused",
    "admit_candidates",
    "find_candidate",
    "find_candidates",
]
