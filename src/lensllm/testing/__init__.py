"""Contract suites: what every executor, selector and policy has to do, for third parties to subclass."""

from lensllm.testing.executors import ExecutorContract, ToyJob

__all__ = ["ExecutorContract", "ToyJob"]
