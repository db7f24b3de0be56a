"""A folder in which every file that the docs name is there, small, and in its official form; and how the commands of
the docs are read."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from data_scripts import make_images, write
from PIL import Image
from test_prepare import coco_files, karpathy
from test_prepare_vqa import TEN, answered, photographs, vqa_files, vqa_question

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(.*)\n((?:.*\n)*?)^```", re.MULTILINE)
FLICKR = [f"{number}.jpg" for number in range(1, 9)]
WORDS = ("A man rides a red horse.", "A woman holds a small dog.", "Two dogs run on the grass.", "A cat sits on a bus.")


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a document that are in a language."""
    return [body for name, body in BLOCK.findall((ROOT / document).read_text()) if name == language]


# Commands.


def commands(document: str) -> list[list[str]]:
    """The commands of a document, word by word, as the shell, or whoever reads a synopsis, understands them."""
    return [command for block in blocks(document, "sh") for command in _read(block)]


def _read(block: str) -> Iterator[list[str]]:
    if re.search(r" \[-| \(-| \.\.\.", block):
        for line in block.replace("\\\n", " ").splitlines():
            yield from _synopsis(line.partition("#")[0])
    else:
        yield from _recorded(block)


def _recorded(block: str) -> list[list[str]]:
    """What bash would run, loops and variables and all, told by functions that stand in the place of the programs."""
    printed = "\n".join(f"{name}() {{ printf '%s\\0' {name} \"$@\"; echo; }}" for name in ("vlrnn", "python", "make"))
    script = f"set -eu\n{printed}\n{block}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=30)
    return [line.split("\0")[:-1] for line in done.stdout.splitlines()]


def _synopsis(line: str) -> Iterator[list[str]]:
    """The shortest and the longest of what a synopsis allows, with each of its alternatives."""
    for optional in ("", r" \1"):
        plain = re.sub(r" \[([^]]*)\]", optional, line)
        found = re.search(r"\(([^)]*)\)", plain)
        for chosen in found[1].split(" | ") if found else [""]:
            words = plain.replace(found[0], re.sub(r" \[([^]]*)\]", optional, chosen)) if found else plain
            words = re.sub(r"(\w)\|[\w-]+", r"\1", words.replace(" ...", ""))
            if words.strip():
                yield shlex.split(words)


# Files.


def furnish(folder: Path) -> None:
    """Make all of it, but for what the docs' own commands make."""
    for name in ("demo", "benchmarks", "tests"):
        (folder / name).symlink_to(ROOT / name)
    _flickr(folder)
    _coco(folder)
    _regions(folder)
    _vqa(folder)
    _own(folder)
    _for_probes(folder)
    write(folder / "my_cells.py", blocks("docs/training.md", "python")[0])
    write(folder / "my_parts.py", "\n".join(blocks("CONTRIBUTING.md", "python")))


def _flickr(folder: Path) -> None:
    for name in ("flickr8k", "Flickr8k_folder"):
        make_images(folder / name / "images", FLICKR)
        lines = [f"{image}#{k}\t{WORDS[(n + k) % 4]}" for n, image in enumerate(FLICKR) for k in range(2)]
        write(folder / name / "Flickr8k.token.txt", "\n".join(lines))
        write(folder / name / "Flickr_8k.trainImages.txt", "\n".join(FLICKR[:4]))
        write(folder / name / "Flickr_8k.devImages.txt", "\n".join(FLICKR[4:]))
    make_images(folder / "flickr30k/flickr30k-images", FLICKR[:3])
    write(folder / "flickr30k/results_20130124.token", "\n".join(f"{name}#0\t{WORDS[0]}" for name in FLICKR[:3]))
    for split, name in zip(("train", "val", "test"), FLICKR, strict=False):
        write(folder / f"flickr30k/{split}.txt", name)


def _coco(folder: Path) -> None:
    coco_files(folder / "coco", "train2017", [1, 2, 3, 4])
    coco_files(folder / "coco", "val2017", [7, 8, 9, 10])
    make_images(folder / "coco2014", ["train2014/1.jpg", "val2014/2.jpg", "val2014/3.jpg"])
    images = [(f"{n}.jpg", split, {"filepath": part, "cocoid": n}) for n, split, part in KARPATHY]
    write(folder / "dataset_coco.json", karpathy(*images))
    references = [{"id": 10 * n + k, "image_id": n, "caption": WORDS[(n + k) % 4]} for n in IDS for k in range(2)]
    write(folder / "captions_val2017.json", {"images": [{"id": n} for n in IDS], "annotations": references})
    write(folder / "results.json", [{"image_id": n, "caption": WORDS[n % 4]} for n in IDS])


KARPATHY = ((1, "train", "train2014"), (2, "val", "val2014"), (3, "test", "val2014"))
IDS = range(1, 101)


def _regions(folder: Path) -> None:
    """Of all images of `_coco`."""
    ids = np.array([1, 2, 3, 4, 7, 8, 9, 10])
    np.savez(folder / "regions.npz", ids=ids, features=np.ones((len(ids), 3, 4), np.float32))


def _vqa(folder: Path) -> None:
    source = folder / "vqa"
    for prefix in ("v2_", ""):
        for part, images in (("train2014", range(1, 9)), ("val2014", range(11, 15))):
            photographs(source, part, *images)
            questions = [vqa_question(10 * image + k, image) for image in images for k in range(2)]
            replies = [answered(10 * image + k, image, *TEN) for image in images for k in range(2)]
            vqa_files(source, part, questions, replies, prefix)
        photographs(source, "test2015", 21)
        for part in ("test2015", "test-dev2015"):
            vqa_files(source, part, [vqa_question(210, 21)], None, prefix)
    write(folder / "v2_mscoco_val2014_annotations.json", (source / "v2_mscoco_val2014_annotations.json").read_text())
    write(
        folder / "vqa_results.json",
        [{"question_id": 10 * n + k, "answer": "dog"} for n in range(11, 15) for k in (0, 1)],
    )
    for split, parts in (("train", dict.fromkeys(range(1, 9), "train2014")), ("test", {11: "val2014"})):
        printed = [
            (vqa_question(10 * n, n), answered(10 * n, n, *TEN), {"coco_split": part}) for n, part in parts.items()
        ]
        write(folder / f"vqa_cp/vqacp_v2_{split}_questions.json", [question | part for question, _, part in printed])
        write(folder / f"vqa_cp/vqacp_v2_{split}_annotations.json", [reply | part for _, reply, part in printed])


def _own(folder: Path) -> None:
    names = [f"{number}.jpg" for number in range(20)]
    make_images(folder / "photographs", names)
    make_images(folder / "photos", names[:2])
    make_images(folder, ["photo.jpg"])
    rows = [f'{name},"{WORDS[number % 4]}"' for number, name in enumerate(names)]
    write(folder / "captions.csv", "\n".join(["image,caption", *rows]))
    question_lines = [f"{name},what is it?,{('dog', 'cat')[number % 2]}" for number, name in enumerate(names)]
    write(folder / "questions.csv", "\n".join(["image,question,answer", *question_lines]))
    for name in ("daquar", "daquar_folder"):
        images = [f"image{number}" for number in range(1, 21)]
        make_images(folder / name / "images", [f"{each}.png" for each in images])
        write(
            folder / name / "qa.train.txt", "".join(f"what is on the desk in the {each} ?\nbook\n" for each in images)
        )
        write(folder / name / "train_images.txt", "\n".join(images))
    for split in ("train", "test"):
        make_images(folder / "easy-VQA/data" / split / "images", [f"{number}.png" for number in range(10)])
        write(folder / f"easy-VQA/data/{split}/questions.json", [["what shape?", "circle", n] for n in range(10)])
    write(folder / "easy-VQA/data/answers.txt", "circle\nyes\nno")


def _for_probes(folder: Path) -> None:
    write(folder / "women.txt", "\n".join(str(n) for n in IDS if n % 4 == 1))
    write(folder / "men.txt", "\n".join(str(n) for n in IDS if n % 4 == 0))
    write(folder / "objects.json", {str(n): [("dog", "cat", "bus", "horse")[n % 4]] for n in IDS})
    row = {"attributes": ["woman"], "tasks": ["skis"]}
    other = {"attributes": ["man"], "tasks": ["snow"]}
    predicted = [{"predicted_" + key: value for key, value in each.items()} for each in (row, other)]
    lines = [{"id": n, **(row, other)[n % 2], **predicted[n // 2 % 2]} for n in IDS]
    for name in ("images", "training"):
        write(folder / f"{name}.jsonl", "\n".join(map(json.dumps, lines)))
    write(folder / "synonyms.txt", "dog, puppy\ncat, kitten\nbus\nhorse")
    write(folder / "double_words.json", {"hot dog": ""})
    make_images(folder / "pictures", [f"{n}.jpg" for n in IDS])
    polls = [
        {"question_id": n, "image": f"{n}.jpg", "text": f"Is there a {name} in the image?", "label": label}
        for n, (name, label) in enumerate([("dog", "yes"), ("bus", "no"), ("cat", "no"), ("horse", "yes")], start=1)
    ]
    write(folder / "pictures/poll.json", "\n".join(map(json.dumps, polls)))
    write(folder / "answers.json", "\n".join(json.dumps({"question_id": n, "answer": "yes"}) for n in range(1, 5)))
    Image.new("RGB", (64, 64), "white").save(folder / "white.png")
