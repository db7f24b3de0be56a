"""What is good, before it is made bad: data sets, models that were trained for a step, their runs, and files of every
form that is read. Made once; cases copy what they change."""

import io
import json
import shutil
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import yaml

from vlrnn.cli import main
from vlrnn.data.records import Example, Prediction, open_split, write_records
from vlrnn.data.synthetic.dataset import make_scenes

ENCODER = {"name": "squeezenet1_1", "weights": None, "image_size": 32, "out_layer": "features.3"}
LSTM = {"class_path": "vlrnn.nn.LSTM", "init_args": {"hidden_size": 8}}
ATTENTION = {"class_path": "vlrnn.nn.SoftAttention", "init_args": {"attention_dim": 8}}
DECODER = {
    "class_path": "vlrnn.nn.ShowAttendTell",
    "init_args": {"recurrence": LSTM, "attention": ATTENTION, "embedding_dim": 8},
}
VQA_PARTS = {
    "question_encoder": {
        "class_path": "vlrnn.nn.RecurrentQuestionEncoder",
        "init_args": {"recurrence": LSTM, "embedding_dim": 8},
    },
    "image_pooling": {"class_path": "vlrnn.nn.QuestionGuidedAttention", "init_args": {"attention": ATTENTION}},
    "fusion": {"class_path": "vlrnn.nn.MLB", "init_args": {"output_dim": 8, "rank": 8}},
}
MODELS = {
    "captioner": ("vlrnn.tasks.Captioner", {"decoder": DECODER, "generation": {"max_new_tokens": 6}}),
    "speaker": ("vlrnn.tasks.GenerativeVQA", {**VQA_PARTS, "decoder": DECODER}),
    "classifier": ("vlrnn.tasks.ClassifierVQA", VQA_PARTS),
}


class World:
    """A folder of good things.

    Attributes:
        folder: `captions/` and `vqa/`, prepared; `NAME.yaml`, `NAME/` and `NAME-exported/`, recipe, run and weights of
            each of MODELS; `cache/`, the features of the captioner's images; and `files/`, in all forms.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.cache = folder / "cache"
        if not (folder / "whole").is_file():
            with redirect_stdout(io.StringIO()):
                self._make()
            (folder / "whole").touch()

    def checkpoint(self, name: str) -> Path:
        return self.folder / name / "checkpoints" / "best.ckpt"

    def exported(self, name: str) -> Path:
        return self.folder / f"{name}-exported"

    def recipe(self, name: str) -> Path:
        return self.folder / f"{name}.yaml"

    def _make(self) -> None:
        scenes = self.folder / "scenes"
        make_scenes(scenes, train=12, val=3, test=6, image_size=32, workers=1)
        for each in ("captions", "vqa", "images"):
            (scenes / each).rename(self.folder / each)
        shutil.rmtree(scenes)
        for name, (path, arguments) in MODELS.items():
            model = {"class_path": path, "init_args": {"encoder": encoder(), **arguments}}
            data = {"root": str(self.folder / ("captions" if name == "captioner" else "vqa")), "min_count": 1}
            trainer = {"accelerator": "cpu", "max_epochs": 1, "default_root_dir": str(self.folder / name)}
            recipe = {"model": model, "data": {**data, "batch_size": 4}, "trainer": {**trainer, "logger": False}}
            self.recipe(name).write_text(yaml.safe_dump(recipe))
            run("fit", "--config", self.recipe(name))
            run("test", "--config", self.recipe(name))
            run("export", "--checkpoint", self.checkpoint(name), "--out", self.exported(name))
            (self.folder / name / "log.csv").write_text("epoch,step,train/loss,val/loss\n0,1,2.5,\n0,2,2.25,3\n")
        run("cache", "--config", self.recipe("captioner"), "--data.cache", self.cache)
        self._write_files()
        files = ["--predictions", self.files / "captions.jsonl", "--examples", self.folder / "captions" / "test.jsonl"]
        run("probe", "scene_truth", *files, "--out", self.folder / "captioner" / "probes" / "scene_truth.json")

    def _write_files(self) -> None:
        """What is read besides prepared data: predictions, official files, tables."""
        self.files.mkdir()
        shown = list(open_split(self.folder / "captions", "test"))
        questions = list(open_split(self.folder / "vqa", "test"))
        captions = [Prediction(each.id, each.image_id, each.captions[0], score=-1.5) for each in shown]
        answers = [Prediction(each.id, each.image_id, each.answers[0], score=0.5) for each in questions]
        write_records(self.files / "captions.jsonl", captions)
        write_records(self.files / "answers.jsonl", answers)
        for name, value in {**_coco(shown), **_vqa(questions), **_objects(shown)}.items():
            (self.files / name).write_text(json.dumps(value, ensure_ascii=False))
        table = [
            {
                "id": number,
                "attributes": [who],
                "tasks": [what],
                "predicted_attributes": [who],
                "predicted_tasks": [what],
            }
            for number, (who, what) in enumerate(
                [("woman", "skis"), ("man", "skis"), ("woman", "dog"), ("man", "cat")] * 3
            )
        ]
        _lines(self.files / "table.jsonl", table)
        poll = [
            {"question_id": 2 * number + yes, "image_id": each.image_id, "image": Path(each.image).name}
            | {"text": f"Is there a {'red circle' if yes else 'dog'} in the image?", "label": "yes" if yes else "no"}
            for number, each in enumerate(shown)
            for yes in (True, False)
        ]
        _lines(self.files / "poll.json", poll)
        _lines(self.files / "replies.json", [{"question_id": each["question_id"], "answer": "Yes."} for each in poll])
        for name, half in (("women.txt", shown[::2]), ("men.txt", shown[1::2])):
            (self.files / name).write_text("\n".join(str(each.image_id) for each in half) + "\n")
        (self.files / "synonyms.txt").write_text("dog, puppy\ncat, kitten\n")
        (self.files / "questions.csv").write_text(
            "image,question,answer\n"
            + "".join(f"{Path(each.image).name},{each.question},{each.answers[0]}\n" for each in questions)
        )
        for part in ("train", "val"):
            self._write_official(part, list(open_split(self.folder / "vqa", part)))
        (self.files / "captions.csv").write_text(
            "image,caption,split\n" + "".join(f"{Path(each.image).name},{each.captions[0]},train\n" for each in shown)
        )

    def _write_official(self, part: str, examples: list[Example]) -> None:
        """A part of the release of VQA v2."""
        folder = self.folder / "official"
        (folder / f"{part}2014").mkdir(parents=True)
        for number, each in enumerate(examples):
            photograph = folder / f"{part}2014" / f"COCO_{part}2014_{number // 2:012}.jpg"
            photograph.write_bytes((self.folder / "vqa" / each.image).read_bytes())
        files = _vqa(examples)
        questions = folder / f"v2_OpenEnded_mscoco_{part}2014_questions.json"
        questions.write_text(json.dumps(files["questions.json"]))
        (folder / f"v2_mscoco_{part}2014_annotations.json").write_text(json.dumps(files["annotations.json"]))


def encoder() -> dict[str, Any]:
    return {"class_path": "vlrnn.nn.TorchvisionEncoder", "init_args": ENCODER}


def run(command: str, *arguments: Any) -> None:
    """A command that must work."""
    assert main([command, *map(str, arguments), "--quiet"]) == 0


def _lines(path: Path, entries: Iterable[Any]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in entries))


def _coco(shown: list[Example]) -> dict[str, Any]:
    texts = [(number, text) for number, each in enumerate(shown) for text in each.captions]
    images = [{"id": number, "file_name": Path(each.image).name} for number, each in enumerate(shown)]
    categories = [
        {"id": 1, "name": "dog", "supercategory": "animal"},
        {"id": 2, "name": "cat", "supercategory": "animal"},
    ]
    sentences = [[{"raw": text, "tokens": text.split()} for text in each.captions] for each in shown]
    return {
        "captions_val2014.json": {
            "images": images,
            "annotations": [{"id": at, "image_id": id, "caption": text} for at, (id, text) in enumerate(texts)],
        },
        "instances_val2014.json": {
            "images": images,
            "categories": categories,
            "annotations": [
                {"id": n, "image_id": n, "category_id": 1 + n % 2, "iscrowd": 0} for n in range(len(shown))
            ],
        },
        "results.json": [{"image_id": number, "caption": each.captions[0]} for number, each in enumerate(shown)],
        "karpathy.json": {
            "dataset": "coco",
            "images": [
                {"filename": Path(each.image).name, "cocoid": n, "imgid": n, "split": "test", "sentences": sentences[n]}
                for n, each in enumerate(shown)
            ],
        },
    }


def _vqa(examples: list[Example]) -> dict[str, Any]:
    questions = [
        {"question_id": number, "image_id": number // 2, "question": each.question}
        for number, each in enumerate(examples)
    ]
    annotations = [
        {"question_id": number, "image_id": number // 2, "question_type": each.question_type}
        | {"answer_type": each.answer_type, "multiple_choice_answer": each.answers[0]}
        | {"answers": [{"answer": text, "answer_id": at} for at, text in enumerate(each.answers)]}
        for number, each in enumerate(examples)
    ]
    return {
        "questions.json": {"questions": questions},
        "annotations.json": {"annotations": annotations},
        "answers.json": [{"question_id": number, "answer": each.answers[0]} for number, each in enumerate(examples)],
        "groups.json": [[0, 1], [2, 3]],
    }


def _objects(shown: list[Example]) -> dict[str, Any]:
    return {
        "objects.json": {str(each.image_id): list(each.objects or ()) for each in shown},
        "double_words.json": {"red circle": "circle"},
    }
