"""Training with Lightning: the base of all tasks, objectives, optimisation, checkpoints, recipes.

Recipes and checkpoints name a class by this package: `vlrnn.training.Optimization`.
"""

from vlrnn import lazy_names

_MODULES = {
    "AnswerObjective": "objectives.answers",
    "BiasProduct": "objectives.debiasing",
    "CrossEntropy": "objectives.base",
    "Debiased": "objectives.debiasing",
    "LearnedMixin": "objectives.debiasing",
    "LogitObjective": "objectives.answers",
    "Loss": "objectives.base",
    "MajorityCrossEntropy": "objectives.answers",
    "Objective": "objectives.base",
    "Optimization": "optimization",
    "RUBi": "objectives.debiasing",
    "Reweighting": "objectives.debiasing",
    "SampledCrossEntropy": "objectives.answers",
    "SelfCritical": "objectives.self_critical",
    "SoftScores": "objectives.answers",
    "Task": "module",
    "TokenCrossEntropy": "objectives.base",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _MODULES)
