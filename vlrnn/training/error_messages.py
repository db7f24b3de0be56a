"""Faults of a run that the user can mend, and their messages of one line: values of a recipe or a checkpoint that
cannot be used, and processes that were lost."""

import re
import sys
import traceback

import torch.distributed as dist
from jsonargparse import ArgumentError
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from vlrnn.errors import UserError

_GO_ON = "resume from the last checkpoint with --ckpt_path last"

_READERS = {
    "jsonargparse",
    "lightning_fabric",
    "packaging",
    "pytorch_lightning",
    "torch",
    "yaml",
    *sys.stdlib_module_names,
}
"""Packages that read the values of a recipe or of a checkpoint."""

_RESTORERS = {f"vlrnn.training.{name}" for name in ("optimization", "resuming", "run_start")}
"""Modules of vlrnn that read what a checkpoint holds besides weights."""


def to_user_error(fault: Exception, caller: str) -> Exception:
    """The error to print in place of `fault`: a `UserError` that caused it, if there is one; else, in one line, the
    message of a package that could not use a value of the recipe. A fault that passed through other code of vlrnn than
    the module `caller`, or through code of the user's, is returned as it is."""
    if _lost_another(fault):
        return UserError(
            f"another process of this training has stopped, and so this one stops; its output has the reason; {_GO_ON}"
        )
    if _lost_worker(fault):
        return UserError(
            "a process that loads examples was killed, perhaps for lack of memory; lower "
            f"data.num_workers or data.batch_size, and {_GO_ON}"
        )
    within: BaseException | None = fault
    while within is not None:
        if isinstance(within, UserError):
            return within
        within = within.__cause__ or within.__context__
    frames = [frame for frame, _ in traceback.walk_tb(fault.__traceback__)]
    restores = {frame.f_code.co_name for frame in frames} & {"_restore_modules_and_callbacks", "restore_training_state"}
    readers = _RESTORERS if restores else set()
    modules = {frame.f_globals.get("__name__", "") for frame in frames} - {caller, *readers}
    refused = isinstance(fault, (ArgumentError, MisconfigurationException))
    theirs = modules and {each.partition(".")[0] for each in modules} <= _READERS
    if isinstance(fault, OSError) or not (refused or theirs):
        return fault
    reason = f"{'' if refused else type(fault).__name__ + ': '}{' '.join(str(fault).split())}"
    if restores:
        return UserError(f"the checkpoint is broken, or training cannot resume from it: {reason}")
    return UserError(reason)


def _lost_another(fault: Exception) -> bool:
    """Whether the process lost the connection to another one of the same training."""
    lost = isinstance(fault, dist.DistError) or (isinstance(fault, RuntimeError) and "gloo" in str(fault))
    return lost and dist.is_initialized()


def _lost_worker(fault: Exception) -> bool:
    """Whether a worker of a loader was ended from outside. torch raises that from a signal handler, within any code,
    which may wrap it."""
    return re.search(r"DataLoader worker \(pid.{1,60}(killed by signal|exited unexpectedly)", str(fault)) is not None
