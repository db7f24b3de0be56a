"""BLEU, ROUGE-L and CIDEr-D of the same captions by vlrnn and by pycocoevalcap, side by side: times, their
ratio, and the scores.

    python benchmarks/scoring.py REFERENCES PREDICTIONS [--repeats 3]

Both start from files and tokenize. The two take turns, each in a process of its own, and the shortest time
of each counts. The last row is a training run's epoch: references that have been counted already. Needs
pycocoevalcap and Java; prints what it finds, asserts nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import time

NAMES = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr")


def ours(references: str, predictions: str) -> dict[str, float]:
    """Times in seconds and scores by vlrnn."""
    start = time.perf_counter()
    from vlrnn.data.formats.captions import read_predictions, read_references
    from vlrnn.data.matching import match
    from vlrnn.metrics import CaptionScorer

    matched = match(read_predictions(predictions), read_references(references), "skip")
    scorer = CaptionScorer(matched.references)
    texts = {id: prediction.text for id, prediction in matched.predictions.items()}
    scores = scorer.score(texts)
    whole = time.perf_counter() - start
    start = time.perf_counter()
    scorer.score(texts)
    return {"whole": whole, "epoch": time.perf_counter() - start, **scores.corpus}


def official(references: str, predictions: str) -> dict[str, float]:
    """Time in seconds and scores by pycocoevalcap."""
    start = time.perf_counter()
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
    from pycocotools.coco import COCO

    coco = COCO(references)
    results = coco.loadRes(predictions)
    ids = [id for id in coco.getImgIds() if id in results.imgToAnns]
    tokenizer = PTBTokenizer()
    truth = tokenizer.tokenize({id: coco.imgToAnns[id] for id in ids})
    said = tokenizer.tokenize({id: results.imgToAnns[id] for id in ids})
    values = [*Bleu(4).compute_score(truth, said, verbose=0)[0]]
    values += [float(scorer.compute_score(truth, said)[0]) for scorer in (Rouge(), Cider())]
    return {"whole": time.perf_counter() - start, **dict(zip(NAMES, values, strict=True))}


def _in_a_process(name: str, references: str, predictions: str) -> dict[str, float]:
    command = [sys.executable, __file__, references, predictions, "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.rstrip().rsplit("\n", 1)[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("references", help="COCO captions_*.json")
    parser.add_argument("predictions", help="COCO results")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("ours", "official"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        score = ours if arguments.only == "ours" else official
        print(json.dumps(score(arguments.references, arguments.predictions)))
        return
    turns = [
        [_in_a_process(name, arguments.references, arguments.predictions) for name in ("official", "ours")]
        for _ in range(arguments.repeats)
    ]
    theirs = min((official for official, _ in turns), key=lambda found: found["whole"])
    mine = min((ours for _, ours in turns), key=lambda found: found["whole"])
    epoch = min(ours["epoch"] for _, ours in turns)
    print(f"pycocoevalcap              {theirs['whole']:7.2f} s")
    for name, seconds in (("vlrnn", mine["whole"]), ("vlrnn, references counted", epoch)):
        print(f"{name:26} {seconds:7.2f} s   {theirs['whole'] / seconds:6.1f} times as fast")
    for name in NAMES:
        print(f"{name:8} {theirs[name]:.12f} {mine[name]:.12f}   difference {mine[name] - theirs[name]:+.1e}")


if __name__ == "__main__":
    main()
