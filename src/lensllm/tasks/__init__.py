"""What the user brings: read, normalise, split, nested subsets, tokenise and mask, bytes per example."""

from lensllm.tasks.read import read_task
from lensllm.tasks.task import Example, Task

__all__ = ["Example", "Task", "read_task"]
