"""How a run is trained: one protocol for the whole ladder."""

from __future__ import annotations

from dataclasses import dataclass

from lensllm.tasks.conversation import Chat


@dataclass(frozen=True)
class TrainingConfig:
    """Settings shared by every run of a selection, whatever the candidate and the number of examples.

    Nothing here depends on the number of examples: a rule that changes along the ladder (a least number of
    steps, say) puts a kink into every curve, and a law fitted through a kink forecasts wrongly.

    Attributes:
        num_train_epochs: passes over the subset.
        per_device_train_batch_size: examples a step.
        learning_rate_trials: the learning rates tried at the first rung, as multiples of `Method.base_learning_rate`;
            the one with the lowest validation loss is kept.
        learning_rate_backoff: a larger rung whose validation loss is not below the rung's before is trained once more
            at this multiple of its learning rate, and the better of the two is kept from there on.
        warmup_ratio: part of the steps over which the learning rate rises; it then falls linearly to 0.
        weight_decay: of AdamW.
        max_test_examples: test examples measured after each run, the first of the test split.
        max_validation_examples: validation examples that choose a learning rate.
        max_length: tokens an example may have; longer prompts lose their beginning, longer conversations their
            oldest turns.
        chat: whether pairs of prompt and completion are written in the model's chat template: `auto` where it has
            one, `on` always (models without one get the default), `off` never.
        seed: order of the training examples.
        subset_seed: the permutation that the nested subsets are prefixes of.
    """

    num_train_epochs: int = 3
    per_device_train_batch_size: int = 8
    learning_rate_trials: tuple[float, ...] = (0.1, 0.3, 1.0)
    learning_rate_backoff: float = 0.3
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_test_examples: int = 300
    max_validation_examples: int = 100
    max_length: int = 1024
    chat: Chat = "auto"
    seed: int = 0
    subset_seed: int = 0

    def steps(self, examples: int) -> int:
        """Optimizer steps of a run.

        >>> TrainingConfig().steps(50)
        21
        """
        return self.num_train_epochs * -(-examples // self.per_device_train_batch_size)
