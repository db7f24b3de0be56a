"""dose-response: what does a bias of the data do to models?"""

import argparse

from vlrnn.probes.finding import Finding
from vlrnn.terminal import print_line

PURPOSE = "how much do models make up, the more surely rings come with stars in what they learn from?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--train", type=int, default=6000, help="training scenes of each bias (%(default)s)")
    parser.add_argument("--test", type=int, default=1500, help="balanced test scenes (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="models of each task at each bias (%(default)s)")
    parser.add_argument("--epochs", type=float, default=0.5, help="of the captioner: whole, or a share (%(default)s)")
    parser.add_argument(
        "--biases", type=float, nargs="+", default=[0, 0.25, 0.5, 0.75, 1], help="settings of the dial, 0 the first"
    )


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.report.study_plots import save_dose_response
    from vlrnn.studies.dose_response import DoseResponsePlan, dose_response

    plan = DoseResponsePlan(
        tuple(arguments.biases),
        arguments.seeds,
        arguments.train,
        arguments.test,
        arguments.seed,
        arguments.epochs,
    )
    finding = dose_response(arguments.out, plan, resamples=arguments.resamples, overwrite=arguments.overwrite)
    picture = arguments.out / "dose-response.png"
    save_dose_response(picture, finding.scores, finding.settings)
    print_line(f"drawn: {picture}")
    return finding
