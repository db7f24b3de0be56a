"""Every way in which vlrnn reads files of data: command lines whose `{PATH}`s are good files or folders of the world,
of which cases make one bad."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from fuzzing.running import Case
from fuzzing.world import World

_SCORE_CAPTIONS = "score captions --no-java --resamples 10 --out out/scores.json --per_image out/each.jsonl"
_SCORE_VQA = "score vqa --resamples 10 --out out/scores.json --per_question out/each.jsonl"
_PROBE = "probe {} --resamples 10 --out out/found.json"
_IMAGE_ROOT = "--data.image_root {images/}"
_DRY = "--trainer.fast_dev_run 1 --trainer.enable_model_summary false --trainer.default_root_dir run"

OF_CAPTIONS = (
    f"{_SCORE_CAPTIONS} --references {{captions/test.jsonl}} --predictions {{files/captions.jsonl}}",
    f"{_SCORE_CAPTIONS} --references {{captions/test.jsonl}} --predictions {{files/captions.jsonl}} --missing empty",
    f"{_SCORE_CAPTIONS} --references {{captions/test.jsonl}} --predictions {{files/captions.jsonl}} "
    "--compare {captioner/predictions.jsonl} --training {captions/train.jsonl} --missing skip",
    f"{_SCORE_CAPTIONS} --references {{files/captions_val2014.json}} --predictions {{files/results.json}}",
    f"{_SCORE_CAPTIONS} --references {{files/karpathy.json}} --predictions {{files/results.json}} --split test "
    "--document_frequency {files/captions_val2014.json}",
    f"{_PROBE.format('scene_truth')} --predictions {{files/captions.jsonl}} --examples {{captions/test.jsonl}}",
    f"{_PROBE.format('chair')} --predictions {{files/captions.jsonl}} --objects {{captions/test.jsonl}}",
    f"{_PROBE.format('chair')} --predictions {{files/captions.jsonl}} --objects {{files/objects.json}} "
    "--synonyms {files/synonyms.txt} --double_words {files/double_words.json} --mode chair-2018",
    f"{_PROBE.format('chair')} --predictions {{files/results.json}} --objects {{files/instances_val2014.json}} "
    "--references {files/captions_val2014.json}",
    f"{_PROBE.format('gender')} --predictions {{files/captions.jsonl}} --women {{files/women.txt}} "
    "--men {files/men.txt} --references {captions/test.jsonl}",
    f"{_PROBE.format('amplification')} --predictions {{files/captions.jsonl}} --objects {{files/objects.json}} "
    "--women {files/women.txt} --men {files/men.txt} --synonyms {files/synonyms.txt}",
    f"{_PROBE.format('pope')} --questions {{files/poll.json}} --predictions {{files/captions.jsonl}} "
    "--objects {captions/test.jsonl}",
)
OF_QUESTIONS = (
    f"{_SCORE_VQA} --references {{vqa/test.jsonl}} --predictions {{files/answers.jsonl}}",
    f"{_SCORE_VQA} --references {{vqa/test.jsonl}} --predictions {{files/answers.jsonl}} "
    "--compare {speaker/predictions.jsonl} --missing skip --protocol official-2017",
    f"{_SCORE_VQA} --references {{files/annotations.json}} --predictions {{files/answers.json}} "
    "--questions {files/questions.json}",
    f"{_SCORE_VQA} --references {{files/questions.json}} --predictions {{files/answers.json}} --official out/send.json",
    f"{_PROBE.format('calibration')} --predictions {{classifier/predictions.jsonl}} --references {{vqa/test.jsonl}}",
    f"{_PROBE.format('calibration')} --predictions {{files/answers.jsonl}} --references {{vqa/test.jsonl}} "
    "--val {files/answers.jsonl} --val_references {vqa/test.jsonl}",
    f"{_PROBE.format('consistency')} --predictions {{files/answers.json}} --references {{files/annotations.json}} "
    "--groups {files/groups.json}",
    f"{_PROBE.format('consistency')} --predictions {{files/answers.jsonl}} --references {{vqa/test.jsonl}} "
    "--other {speaker/predictions.jsonl}",
    f"{_PROBE.format('priors')} --train {{vqa/train.jsonl}} --test {{vqa/test.jsonl}} "
    "--predictions {files/answers.jsonl}",
    f"{_PROBE.format('priors')} --train {{files/annotations.json}} --test {{files/annotations.json}}",
)
OF_OBJECTS = (
    f"{_PROBE.format('pope')} --questions {{files/poll.json}} --answers {{files/replies.json}}",
    f"{_PROBE.format('amplification')} --table {{files/table.jsonl}} --training {{files/table.jsonl}}",
    "prepare pope {files/objects.json} --out out",
    "prepare pope {files/instances_val2014.json} --out out",
)
OF_DATA = (
    "prepare coco {images/} --captions {files/captions_val2014.json} --split val --out out",
    "prepare coco {images/} --karpathy {files/karpathy.json} --out out",
    "prepare folder {images/} --captions {files/captions.csv} --out out",
    "prepare folder_vqa {images/} --questions {files/questions.csv} --out out",
    "prepare vqa_v2 {official/} --out out",
    "prepare inverses {vqa/} --out out",
    "prepare shift_priors {vqa/} --out out",
)
OF_RUNS = ("report {captioner/} --out out/page.html", "report {classifier/} {speaker/} --out out/page.html")
TRAINING = (
    f"fit --config {{captioner.yaml}} --data.root {{captions/}} {_IMAGE_ROOT} {_DRY}",
    f"fit --config {{classifier.yaml}} --data.root {{vqa/}} {_IMAGE_ROOT} {_DRY}",
    f"fit --config {{speaker.yaml}} --data.root {{vqa/}} {_IMAGE_ROOT} {_DRY}",
    f"validate --config {{captioner.yaml}} --data.root {{captions/}} {_IMAGE_ROOT} "
    "--ckpt_path {captioner/checkpoints/best.ckpt} --trainer.default_root_dir out",
)

_NAMED = re.compile(r"\{(.+?)\}")
_READ = (".json", ".jsonl", ".csv", ".txt", ".yaml")


def bad_case(
    random: Random,
    world: World,
    folder: Path,
    reading: str,
    spoil: Callable[[Random, Path], bytes],
    ends: tuple = _READ,
) -> Case:
    """The command of a reading, of whose files one is made bad: `spoil` gives its new bytes."""
    named = [each for each in _NAMED.findall(reading) if each.endswith(("/", *ends)) and each != "images/"]
    chosen = random.randrange(len(named))
    bad = folder / "bad"

    words, at = [], 0
    for word in f"{reading} --quiet".split():
        if found := _NAMED.fullmatch(word):
            here = found[1] in named and at == chosen
            at += found[1] in named
            good = world.folder / found[1]
            word = str(_made_bad(random, good, bad, spoil, ends) if here else good)
        words.append(word)
    return Case(words)


def _made_bad(
    random: Random, good: Path, bad: Path, spoil: Callable[[Random, Path], bytes], ends: tuple[str, ...]
) -> Path:
    bad.mkdir()
    copy = bad / good.name
    if good.is_dir():
        shutil.copytree(good, copy, ignore=shutil.ignore_patterns("checkpoints"))
        victim = random.choice(sorted(each for each in copy.rglob("*") if each.suffix in ends))
    else:
        shutil.copy(good, copy)
        victim = copy
    victim.write_bytes(spoil(random, victim))
    return copy


def entries(path: Path) -> tuple[list, bool]:
    """The values of a JSON file, and whether they stand on lines."""
    text = path.read_text()
    try:
        return [json.loads(text)], False
    except ValueError:
        return [json.loads(line) for line in text.splitlines()], True
