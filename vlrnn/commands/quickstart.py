"""quickstart: data, training, scores, probes and a report, on synthetic scenes, in minutes."""

import argparse
import sys
from pathlib import Path

from vlrnn.commands.study import add_overwrite, own_folder
from vlrnn.terminal import print_line

SHOWN = {
    "captioning": ("right", "right_held_out", "CIDEr", "Bleu_4"),
    "generative_vqa": ("overall", "arithmetic_mean_per_question_type"),
    "classifier_vqa": ("overall", "arithmetic_mean_per_question_type"),
}
"""Printed scores; `metrics.json` and the report have all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="runs/quickstart", metavar="FOLDER")
    parser.add_argument("--train", type=int, default=8000, help="training scenes (%(default)s)")
    parser.add_argument("--val", type=int, default=200, help="validation scenes (%(default)s)")
    parser.add_argument("--test", type=int, default=1000, help="test scenes (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    add_overwrite(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run it; print the scores, the files and next steps."""
    from vlrnn.runs import format_score
    from vlrnn.studies.quickstart import quickstart

    out = arguments.out
    sizes = {name: getattr(arguments, name) for name in ("train", "val", "test")}
    with own_folder(Path(out)):
        metrics = quickstart(out, **sizes, seed=arguments.seed, overwrite=arguments.overwrite)
    for title, scores in SHOWN.items():
        found = metrics[title]
        print()
        print_line(f"{title:<36}{'':<26}without the image")
        for name in scores:
            print_line(
                f"{name:<36}{format_score(found['scores'].get(name)):<26}{format_score(found['blind'].get(name))}"
            )
    vlrnn = sys.argv[0] if Path(sys.argv[0]).name == "vlrnn" else f"{sys.executable} -m vlrnn"
    other = "--model.init_args.decoder.init_args.recurrence vlrnn.nn.GRU"
    print()
    print_line(f"It took {metrics['seconds']:.0f} seconds. Results and next steps:")
    print()
    print_line(f"  look      open {out}/report.html")
    picture, best = f"{out}/scenes/images/test-000001.png", "checkpoints/best.ckpt"
    question, gru = "'how many objects are there?'", f"{other} --trainer.default_root_dir {out}/gru"
    for purpose, command in {
        "caption": f"caption {picture} --checkpoint {out}/captioning/{best} --explain attention.png",
        "ask": f"ask {picture} {question} --checkpoint {out}/generative_vqa/{best}",
        "try": f"demo --quickstart {out}    (in the browser; needs the extra demo)",
        "change": f"fit --config {out}/captioning/recipe.yaml {gru}",
        "yours": "prepare folder --help    (then start from --config flickr8k)",
    }.items():
        print_line(f"  {purpose:<10}{vlrnn} {command}")
