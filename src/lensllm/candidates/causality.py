"""Does a model predict the future from the past only?"""

from __future__ import annotations

import math

import torch
from transformers import PreTrainedModel

from lensllm.errors import InputError

LENGTH = 12
ROUNDING = 1e-4


@torch.no_grad()
def earlier_logits_move(model: PreTrainedModel, length: int = LENGTH) -> float:
    """How far the logits before the last token move when the last token is changed.

    Returns:
        max |logits - logits'| over all positions but the last, in units of the standard deviation of the logits:
        at most rounding (some 1e-6) for a model that reads the past only.
    """
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    first = torch.arange(length) * 7 % max(vocabulary - 1, 1)
    ids = torch.stack([first, first])
    ids[1, -1] = (ids[0, -1] + 1) % vocabulary
    ids = ids.to(model.device)
    outputs = [model(input_ids=row[None], attention_mask=torch.ones_like(row[None])).logits[0] for row in ids]
    one, other = (logits[: length - 1].double() for logits in outputs)
    spread = float(one.std())
    return 0.0 if spread == 0 else float((one - other).abs().max()) / spread


def check_causal(model: PreTrainedModel) -> None:
    """Refuse a model that reads what it should predict; left as it was, in evaluation mode.

    Raises:
        InputError: if earlier logits move, or the model cannot be run.
    """
    kind = model.config.model_type
    try:
        moved = earlier_logits_move(model)
    except Exception as error:
        raise InputError(
            f"{kind} cannot be run on {LENGTH} tokens: {type(error).__name__}: {str(error).splitlines()[0]}"
        ) from error
    if math.isnan(moved):
        raise InputError("its logits are not finite: its weights are damaged or come from a run that diverged")
    if moved > ROUNDING:
        raise InputError(
            f"{kind} reads the tokens that it should predict (changing the last one moves the logits before it by "
            f"{moved:.2g} standard deviations), so it cannot write text"
        )
