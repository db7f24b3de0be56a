"""Builds the golden files with the official Java tokenizer: `python -m tests.golden.build`, from the
repository's root.

Needs pycocoevalcap, Java, and the data folder in `VLRNN_DATA`. Of other people's captions only digests are
kept.
"""

import json
import os
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from tests.golden.corpora import corpora, digests

HERE = Path(__file__).parent
PUNCTUATION = [
    "''",
    "'",
    "``",
    "`",
    "-LRB-",
    "-RRB-",
    "-LCB-",
    "-RCB-",
    ".",
    "?",
    "!",
    ",",
    ":",
    "-",
    "--",
    "...",
    ";",
]


def java_tokenize(captions: list[str]) -> list[list[str]]:
    """The tokens that pycocoevalcap's tokenizer gives."""
    spec = find_spec("pycocoevalcap")
    assert spec is not None, "pycocoevalcap is not installed"
    home = Path(next(iter(spec.submodule_search_locations or []))) / "tokenizer"
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write("".join(caption.replace("\n", " ") + "\n" for caption in captions).encode())
        file.flush()
        options = ["-cp", str(home / "stanford-corenlp-3.4.1.jar"), "edu.stanford.nlp.process.PTBTokenizer"]
        command = ["java", *options, "-preserveLines", "-lowerCase", file.name]
        lines = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\n")
    assert len(lines) == len(captions) + 1, "a caption with a line break of its own shifts all behind it"
    return [[word for word in line.rstrip().split(" ") if word and word not in PUNCTUATION] for line in lines[:-1]]


def sentences() -> list[str]:
    """The nasty set, our own."""
    return (HERE / "sentences.txt").read_text("utf-8").split("\n")[:-1]


if __name__ == "__main__":
    own = java_tokenize(sentences())
    (HERE / "sentences.tokens.txt").write_text("".join("\t".join(tokens) + "\n" for tokens in own), "utf-8")
    tokenized = {name: digests(java_tokenize(captions)) for name, captions in corpora(os.environ["VLRNN_DATA"]).items()}
    (HERE / "digests.json").write_text(json.dumps(tokenized, indent=1) + "\n", "utf-8")
