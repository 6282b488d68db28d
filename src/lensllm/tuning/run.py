"""The record of one fine-tuning run."""

from __future__ import annotations

from dataclasses import dataclass, field

from lensllm.records import Record
from lensllm.scores.record import Kept, Sample, ScoreValue


@dataclass(frozen=True)
class LearningRateTrial:
    """One learning rate tried: its validation loss in nats a byte, infinite if it diverged."""

    learning_rate: float
    validation: float


@dataclass(frozen=True)
class Run(Record):
    """One candidate fine-tuned on one number of examples.

    Attributes:
        examples: number of training examples D; 0 is the model as it came.
        nats_per_token: test loss a completion token.
        nats_per_byte: test loss a byte of completion text; what candidates are ranked by.
        standard_error: of `nats_per_byte` over test examples.
        validation: loss on the validation examples, nats a byte; compared between rungs and learning rates only.
        learning_rate: the peak learning rate used.
        trials: the learning rates tried, where there was more than one.
        flops: floating-point operations of everything the run did: trials, training, evaluations.
        test_flops: the part of `flops` that measured the test loss.
        training_flops: the part of `flops` that trained, trials included, without the first step of each.
        training_seconds: the part of `seconds` that took; what is left hardly grows with the examples.
        tokens: tokens read in training; as in `flops`, every trial and every start that ran out of memory is in.
        parameters: of the model.
        trained_parameters: those of them, or of its adapters, that were trained; 0 for the model as it came.
        seed: order of the training examples.
        subset_seed: the permutation that chose them.
        lost: share of the test completions' bytes that the tokens do not give back; each was charged ln 256 nats.
        scores: what its answers are worth, by the name of the score; empty where none was asked for.
        samples: the first of the answers that were scored.
        kept: what it is worth on a second task; None where none was given.
        scoring_flops: the part of `flops` that scored and measured the second task.
        test_nats: of each test example, lost bytes charged; told of the model as it came, so that two can be compared
            example by example.
        estimated: why `flops` are 2 N a token and not counted; empty where they were counted.
    """

    kind = "run"

    nats_per_token: float = float("nan")
    nats_per_byte: float = float("nan")
    standard_error: float = float("nan")
    validation: float = float("nan")
    learning_rate: float = 0.0
    trials: list[LearningRateTrial] = field(default_factory=list)
    test_flops: float = 0.0
    tokens: int = 0
    parameters: int = 0
    trained_parameters: int = 0
    seed: int = 0
    subset_seed: int = 0
    lost: float = 0.0
    estimated: str = ""
    scores: dict[str, ScoreValue] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    kept: Kept | None = None
    scoring_flops: float = 0.0
    training_flops: float = 0.0
    training_seconds: float = 0.0
    test_nats: list[float] = field(default_factory=list)

    def features(self) -> dict[str, float]:
        """`size`: the number of parameters."""
        return {"size": float(self.parameters)}
