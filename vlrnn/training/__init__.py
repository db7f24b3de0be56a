"""Training with Lightning: the base of all tasks, objectives, optimisation, checkpoints, recipes.

Recipes and checkpoints name a class by this package: `vlrnn.training.Optimization`.
"""

from vlrnn import lazy_names

_NAMES = {
    "module": "Task",
    "objectives.answers": "AnswerObjective LogitObjective MajorityCrossEntropy SampledCrossEntropy SoftScores",
    "objectives.base": "CrossEntropy Loss Objective TokenCrossEntropy",
    "objectives.debiasing": "BiasProduct Debiased LearnedMixin RUBi Reweighting",
    "objectives.self_critical": "SelfCritical",
    "optimization": "Optimization",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _NAMES)
