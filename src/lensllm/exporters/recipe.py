"""What every exporter writes down: the candidate, how it was trained, its data, and the loss to expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from lensllm.candidates import Full, Lora, Method, Qlora
from lensllm.errors import InputError
from lensllm.measured_inputs import read_measured
from lensllm.provenance import CandidateOrigin
from lensllm.selection import Selection
from lensllm.tasks import Example
from lensllm.tasks.conversation import Conversation
from lensllm.tasks.encode import encode_split
from lensllm.tasks.encoded import Reader
from lensllm.tasks.plain import ends
from lensllm.text import counted
from lensllm.tuning.reader import reader_of
from lensllm.tuning.training_config import TrainingConfig
from lensllm.watching.expected import Expected

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Recipe:
    """One candidate of a selection, as it was measured, on all the data.

    Attributes:
        origin: the candidate.
        method: how it is tuned.
        training: the protocol of every run.
        expected: the forecast of its loss.
        splits: the examples of each split: training in the order of the nested subsets, of the test those that were
            measured.
        reader: how the candidate reads them.
        notes: what another tool does in another way, whichever it is.

    >>> import tempfile
    >>> from lensllm import select
    >>> few = {"sizes": [50], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     recipe = Recipe.of(select("austen", ["gpt2-0.2m-random"], output_dir=folder, **few))
    >>> recipe.is_full, recipe.weights_dtype, len(recipe.splits["test"])
    (True, 'float32', 10)
    """

    origin: CandidateOrigin
    method: Method
    training: TrainingConfig
    expected: Expected
    splits: Mapping[str, tuple[Example, ...]]
    reader: Reader
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, selection: Selection, candidate: str = "") -> Self:
        """The recipe of a candidate, its data read anew from where they came from.

        Args:
            selection: with its provenance.
            candidate: its name; "" for the best.

        Raises:
            InputError: if it is not fine-tuned or an encoder-decoder, if the selection does not say where it came from,
                or if data or model are not what was measured.
        """
        expected = Expected.of(selection, candidate)
        if selection.provenance is None:
            raise InputError("the selection does not say what it came from: run it again, which repeats no run")
        origin = selection.provenance.candidate(expected.candidate)
        if not selection.provenance.task.source:
            raise InputError(
                "the examples of this selection came from a Python program: select from a file to export it"
            )
        task, measured = read_measured(selection.provenance, origin)
        reader = reader_of(measured, selection.provenance.training)
        if reader.encoder_decoder:
            raise InputError(f"{origin.name} is an encoder-decoder, which these tools do not train: lensllm train does")
        training = selection.provenance.training
        splits = {
            "train": tuple(task.subset(len(task.train), training.subset_seed)),
            "validation": task.validation,
            "test": task.test[: training.max_test_examples],
        }
        return cls(origin, origin.tuned_by(), training, expected, splits, reader, _cut(splits["train"], reader))

    @property
    def model(self) -> str:
        """What a tool loads: the hub's id, or a folder of this machine."""
        return self.origin.hub_id or self.origin.folder

    @property
    def lora(self) -> Lora | None:
        """LoRA's settings; None for full tuning."""
        return self.method if isinstance(self.method, Lora) else None

    @property
    def in_four_bits(self) -> bool:
        """Whether the base is held in 4 bits."""
        return isinstance(self.method, Qlora)

    @property
    def is_full(self) -> bool:
        """Whether every weight is trained."""
        return isinstance(self.method, Full)

    @property
    def weights_dtype(self) -> str:
        """Type of the weights when they are loaded."""
        return self.method.weights_dtype(self.training.dtype)

    @property
    def bfloat16(self) -> bool:
        """Whether products are formed in bfloat16."""
        return self.training.dtype == "bfloat16"

    @property
    def warmup_steps(self) -> int:
        """Optimizer steps over which the learning rate rises, where a tool takes no part of the steps."""
        return round(self.training.warmup_ratio * self.training.steps(len(self.splits["train"])))

    def conversations(self) -> dict[str, list[Conversation]] | None:
        """The conversations of each split; None where the candidate reads plain text.

        Raises:
            InputError: if some rows are conversations and some are texts.
        """
        read = {split: [self.reader.conversation(one) for one in self.splits[split]] for split in SPLITS}
        chats = {split: [one for one in found if one is not None] for split, found in read.items()}
        some = sum(map(len, chats.values()))
        if some and some < sum(map(len, read.values())):
            raise InputError(
                f"{self.origin.name} reads some of the rows as conversations and some as plain text, and other tools "
                "read one kind: select with --chat off, or with a file of one kind"
            )
        return chats if some else None

    def ends(self, *, added: bool = False) -> tuple[str, str]:
        """The texts of the tokens that begin and end what the candidate reads of plain text; empty where none does.

        Args:
            added: whether those that the tokenizer puts there by itself are left out.
        """
        tokenizer = self.reader.tokenizer
        start, end = ends(tokenizer)
        if added and start and tokenizer("a")["input_ids"][:1] == start:
            start = []
        return tokenizer.convert_ids_to_tokens(start)[0] if start else "", (
            tokenizer.convert_ids_to_tokens(end)[0] if end else ""
        )

    @property
    def header(self) -> list[str]:
        """What a reader of a configuration should know, a line each."""
        said, expected = self.origin, self.expected
        ratio = expected.bytes_a_token
        told = f"{expected.forecast:.4f} nats a byte (90 % interval {expected.low:.4f} to {expected.high:.4f})"
        by_token = "{:.4f} nats a token (90 % interval {:.4f} to {:.4f})".format(
            *(value * ratio for value in (expected.forecast, expected.low, expected.high))
        )
        return [
            f"{said.name} on {expected.examples:,} examples, as lensllm select measured it.",
            f"Expected test loss: {told}",
            *([f"That is {by_token}, as trainers log it, at {ratio:.4f} bytes a token."] if ratio == ratio else []),
            f"Learning rate {expected.learning_rate:.3g}: found on {max(said.rungs):,} examples.",
            "Is the run on forecast? lensllm watch SELECTION --log RUN",
            *self.notes,
        ]


def _cut(examples: tuple[Example, ...], reader: Reader) -> tuple[str, ...]:
    """A note where prompts are longer than what is read: every tool shortens them in a way of its own."""
    if not (cut := encode_split(examples, reader).prompts_cut):
        return ()
    return (
        f"{counted(cut, 'training prompt')} of more than {reader.max_length:,} tokens lost the beginning here; another "
        "tool cuts elsewhere, perhaps what is learned.",
    )
