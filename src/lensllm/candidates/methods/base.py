"""What every method is: what it changes in a loaded model before training, and what that is known by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Method(ABC):
    """A way to tune a model.

    Attributes:
        name: how it is called in tables and on the command line.
        trains: whether anything is trained; a method that trains nothing is measured on 0 examples.

    >>> class BiasOnly(Method):
    ...     name = "bias"
    ...     def prepare(self, model):
    ...         for name, parameter in model.named_parameters():
    ...             parameter.requires_grad = name.endswith("bias")
    ...         return model
    ...     def base_learning_rate(self, parameters):
    ...         return 5 / parameters**0.5
    >>> import torch
    >>> model = BiasOnly().prepare(torch.nn.Linear(10, 3))
    >>> sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    3
    """

    name: ClassVar[str]
    trains: ClassVar[bool] = True

    @abstractmethod
    def prepare(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model with the parameters to be trained, made from a freshly loaded one (which may be changed)."""

    @abstractmethod
    def base_learning_rate(self, parameters: int) -> float:
        """The largest learning rate worth trying for a model of so many parameters."""

    def spec(self) -> dict[str, Any]:
        """Its settings, which are part of the key of every run; empty where there are none."""
        return {}
