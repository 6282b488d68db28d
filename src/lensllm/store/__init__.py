"""Every record, once, durable."""

from lensllm.store.store import FILE_NAME, Store

__all__ = ["FILE_NAME", "Store"]
