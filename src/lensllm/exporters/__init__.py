"""The answer as configuration and data files of the tools that people train with, one tool a file."""

from lensllm.exporters.export import TOOLS, export
from lensllm.exporters.recipe import Recipe
from lensllm.exporters.written import Exported

__all__ = ["TOOLS", "Exported", "Recipe", "export"]
