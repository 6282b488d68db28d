"""What curves may look like, written down as a simulator of pools, and networks that were fitted to nothing else."""

from lensllm.prior.kinds import KIND_INPUTS, KINDS, Kind
from lensllm.prior.pools import Pools, draw_pools

__all__ = ["KINDS", "KIND_INPUTS", "Kind", "Pools", "draw_pools"]
