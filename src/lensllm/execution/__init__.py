"""Where jobs run, one executor a file; all pass one contract suite (`lensllm.testing`)."""

from lensllm.execution.base import Executor
from lensllm.execution.in_process import InProcess
from lensllm.execution.processes import Processes
from lensllm.execution.slots import default_workers

__all__ = ["Executor", "InProcess", "Processes", "default_workers"]
