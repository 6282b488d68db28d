"""Linear layers whose weights are held in four bits, as bitsandbytes holds them, without a number."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lensllm.candidates.four_bits import packed_bytes


class FourBits(nn.Linear):
    """A linear layer that holds `packed` in place of its weight and forms the weight for each product."""

    def __init__(self, layer: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.bias = layer.in_features, layer.out_features, layer.bias
        self.dtype = layer.weight.dtype
        self.packed: Tensor
        self.register_buffer("packed", torch.zeros(packed_bytes(layer.weight.numel()), dtype=torch.uint8))

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """Formed for a moment."""
        return torch.empty(self.out_features, self.in_features, dtype=self.dtype, device=self.packed.device)

    def forward(self, given: Tensor) -> Tensor:
        """The product with the weight, which the backward pass forms again."""
        made = Product.apply(given.to(self.dtype), self)
        return made if self.bias is None else made + self.bias


class Product(torch.autograd.Function):
    """x W^T, keeping neither x nor W."""

    @staticmethod
    def forward(context: Any, given: Tensor, layer: FourBits) -> Tensor:
        """Form the weight for the product."""
        context.layer = layer
        return functional.linear(given, layer.weight)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Form it again for the gradient of x; the weight has none."""
        return gradients[0] @ context.layer.weight, None


def quantise(model: Any) -> None:
    """Put every linear layer but the output layer into four bits, in place."""
    output = model.get_output_embeddings()
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear and child is not output:
                setattr(module, name, FourBits(child))
