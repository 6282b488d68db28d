"""What curves may look like, written down as a simulator of pools, and networks that were fitted to nothing else."""

from lensllm.prior.kinds import KINDS, TOLD, Kind
from lensllm.prior.pools import Pools, draw_pools

__all__ = ["KINDS", "TOLD", "Kind", "Pools", "draw_pools"]
