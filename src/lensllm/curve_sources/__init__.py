"""Losses that others measured: readers of what trainers and trackers leave, one a file."""

from lensllm.curve_sources.read import is_tracked, read_histories
from lensllm.curve_sources.table import HowRead, read_runs
from lensllm.curve_sources.tracked_run import Evaluated, TrackedRun

__all__ = ["Evaluated", "HowRead", "TrackedRun", "is_tracked", "read_histories", "read_runs"]
