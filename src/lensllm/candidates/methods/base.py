"""What every method is: what it changes in a loaded model before training, and what that is known by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from lensllm.candidates.methods.none import NoTuning


class Method(ABC):
    """A way to tune a model.

    Attributes:
        name: how it is called in tables and on the command line.
        trains: whether anything is trained; a method that trains nothing is measured on 0 examples.

    >>> class BiasOnly(Method):
    ...     name = "bias"
    ...     def prepare(self, model, seed=0):
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
    def prepare(self, model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
        """The model with the parameters to be trained, made from a freshly loaded one (which may be changed).

        Args:
            model: freshly loaded.
            seed: of what is drawn at random.

        Raises:
            InputError: if the method cannot be used on such a model.
        """

    @abstractmethod
    def base_learning_rate(self, parameters: int) -> float:
        """The largest learning rate worth trying for a model of so many parameters."""

    def weights_dtype(self, dtype: str) -> str:
        """Type of the weights when they are loaded, where products are computed in `dtype`.

        float32 where they are trained: a step is mostly smaller than what bfloat16 tells apart.
        """
        return "float32"

    def check_installed(self) -> None:
        """Refuse to begin without a package that the method needs.

        Raises:
            InputError: saying how to install it.
        """
        return None

    def loading(self, dtype: torch.dtype) -> dict[str, Any]:
        """Options of `from_pretrained` with which the base is loaded, its products being formed in `dtype`."""
        return {}

    @property
    def untuned(self) -> NoTuning:
        """The base before any training: all methods of one base share its measurements."""
        from lensllm.candidates.methods.none import NoTuning

        return NoTuning()

    @property
    def backward(self) -> float:
        """What a backward pass costs, in forward passes: one for the inputs' gradients, one for the weights'."""
        return 2.0

    @property
    def label(self) -> str:
        """How a candidate is told from the same model tuned in another way."""
        return self.name

    @property
    def whole_label(self) -> str:
        """The same with all its settings, where the label is not enough."""
        return self.label

    @property
    def told(self) -> str:
        """How it is said in a sentence."""
        return self.label

    def spec(self) -> dict[str, Any]:
        """Its settings, which are part of the key of every run; empty where there are none."""
        return {}
