"""Every run, once, durable."""

from lensllm.store.store import Store

__all__ = ["Store"]
