"""recurrences: which recurrence does best in a recipe, and what does it cost?"""

import argparse

from vlrnn.probes.finding import Finding
from vlrnn.terminal import print_line

PURPOSE = "which recurrence does best in the same recipe, and what does it cost?"
CELLS = "lstm,rnn,gru,min-gru,min-lstm,rg-lru,lru,mamba,rwkv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        action="append",
        required=True,
        metavar="FILE",
        help="the recipe of a captioner, or of a model that answers; overlays behind it",
    )
    parser.add_argument(
        "--cells",
        default=CELLS,
        metavar="NAME,...",
        help="recurrences, as wide as the recipe's, the first being the one that others are held against; behind a "
        "colon settings, residual-stack:recurrence=mamba,num_layers=3 (%(default)s)",
    )
    parser.add_argument("--seeds", type=int, default=1, help="models of each (%(default)s)")
    parser.add_argument("flags", nargs="*", metavar="-- --KEY VALUE", help="of the recipe, as vlrnn fit takes them")


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.nn.recurrent.spec import split_cells
    from vlrnn.report.study_plots import save_recurrences, write_table
    from vlrnn.studies.recurrences import RecurrencesPlan, recurrences

    cells = split_cells(arguments.cells)
    plan = RecurrencesPlan(arguments.config, cells, arguments.seeds, arguments.flags, arguments.seed)
    finding = recurrences(arguments.out, plan, resamples=arguments.resamples, overwrite=arguments.overwrite)
    save_recurrences(arguments.out / "recurrences.png", finding.scores, finding.settings)
    write_table(arguments.out / "recurrences.csv", finding.scores, finding.details["seeds"])
    print_line(f"drawn: {arguments.out / 'recurrences.png'}; as a table: {arguments.out / 'recurrences.csv'}")
    return finding
