"""A model and how it is tuned: found, checked at the door, loaded."""

from lensllm.candidates.candidate import Candidate
from lensllm.candidates.crossing import cross
from lensllm.candidates.find import Found, Refused, admit_candidates, find_candidate, find_candidates
from lensllm.candidates.methods import Full, Lora, Method, NoTuning, Qlora

__all__ = [
    "Candidate",
    "Found",
    "Full",
    "Lora",
    "Method",
    "NoTuning",
    "Qlora",
    "Refused",
    "admit_candidates",
    "cross",
    "find_candidate",
    "find_candidates",
]
