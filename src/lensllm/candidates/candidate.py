"""A candidate: a pre-trained model and how it is tuned."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from lensllm.candidates.configuration import configuration
from lensllm.candidates.files import CONFIG, lies_in, read_object, regular, tokenizer_files, weight_files
from lensllm.candidates.four_bits import FourBits, four_bits
from lensllm.candidates.headers import Tensor, read_headers
from lensllm.candidates.methods import Full, Method

TEMPLATE = "chat_template.jinja"
SETTINGS = "tokenizer_config.json"


@dataclass(frozen=True)
class Candidate:
    """A pre-trained model that could be fine-tuned.

    Attributes:
        model_name_or_path: as the user gave it: a folder, a zoo name or a hub id.
        folder: where its configuration, tokenizer and safetensors weights lie on this machine.
        name: how it is called in tables.
        revision: the hub revision asked for, if any.
        method: how it is tuned.
        chat_template: used in place of the tokenizer's; None for its own.
        variant: the end of the name that says how it is tuned, where a model is tuned in several ways.

    >>> from lensllm.candidates import find_candidate
    >>> candidate = find_candidate("t5-0.2m-glosses-1.5m")
    >>> candidate.name, candidate.method.name, candidate.vocabulary, candidate.encoder_decoder
    ('t5-0.2m-glosses-1.5m', 'full', 2048, True)
    """

    model_name_or_path: str
    folder: Path
    name: str
    revision: str | None = None
    method: Method = field(default_factory=Full)
    chat_template: str | None = None
    variant: str = ""

    @property
    def model_name(self) -> str:
        """Name of the model, however it is tuned."""
        return self.name.removesuffix(f" {self.variant}") if self.variant else self.name

    @property
    def model(self) -> Self:
        """The model alone, with its chat template, however it is tuned."""
        return replace(self, name=self.model_name, method=Full(), variant="")

    @property
    def untuned_name(self) -> str:
        """Name of the model as it came to the method: in 4 bits it is another than before."""
        quantised = self.method.untuned.quant_type if self.four_bits is None else ""
        return f"{self.model_name} in {quantised.upper()}" if quantised else self.model_name

    @property
    def unquantised(self) -> Self:
        """The same model with all its weights in floating point, whatever the method would make of them."""
        return replace(self, method=Full())

    @property
    def four_bits(self) -> FourBits | None:
        """How its weights come quantised; None where they do not.

        Raises:
            InputError: if they are quantised in a way that nothing can be trained over.
        """
        return four_bits(self.config)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model's `config.json`."""
        return read_object(self.folder, CONFIG)

    @property
    def encoder_decoder(self) -> bool:
        """Whether the prompt is read by an encoder of its own: as `config.json` says or its architecture implies."""
        said = self.config.get("is_encoder_decoder")
        if said is None:
            said = configuration(self.folder).is_encoder_decoder
        return bool(said)

    @property
    def has_chat_template(self) -> bool:
        """Whether its folder has a chat template, or one was given for it."""
        if self.chat_template is not None or lies_in(self.folder, TEMPLATE):
            return True
        settings = read_object(self.folder, SETTINGS) if lies_in(self.folder, SETTINGS) else {}
        return bool(settings.get("chat_template"))

    @property
    def vocabulary(self) -> int:
        """Number of tokens that it has embeddings for; 0 if its configuration does not say."""
        said = getattr(configuration(self.folder).get_text_config(decoder=True), "vocab_size", 0)
        return said if isinstance(said, int) else 0

    @cached_property
    def files(self) -> list[str]:
        """Names of all files that are read: configuration, tokenizer, weights. No other file changes a result.

        Raises:
            InputError: if there are no usable weights.
        """
        return [CONFIG, *tokenizer_files(self.folder), *weight_files(self.folder)]

    @property
    def shards(self) -> list[str]:
        """Those of `files` that hold weights."""
        return [name for name in self.files if name.endswith(".safetensors")]

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Name -> type and shape of every tensor of its weights, from the headers of the files.

        Raises:
            InputError: if a file is damaged.
        """
        return read_headers(self.folder, self.shards)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the files and of the template given for them: with the same one the results are the same."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            digest.update(name.encode("utf-8", "surrogateescape"))
            with regular(self.folder, name).open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        if self.chat_template is not None:
            digest.update(b"chat_template" + self.chat_template.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
