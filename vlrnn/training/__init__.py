"""Training with Lightning: the base of all tasks, objectives, optimisation, checkpoints, recipes.

Recipes and checkpoints name a class by this package: `vlrnn.training.Optimization`.
"""

from vlrnn.lazy_names import lazy_names

_MODULES = {
    "AnswerObjective": "objectives.answers",
    "BiasProduct": "objectives.debiasing",
    "CrossEntropy": "objectives.cross_entropy",
    "Debiased": "objectives.debiasing",
    "LearnedMixin": "objectives.debiasing",
    "LogitObjective": "objectives.answers",
    "MajorityCrossEntropy": "objectives.answers",
    "Optimization": "optimization",
    "RUBi": "objectives.debiasing",
    "Reweighting": "objectives.debiasing",
    "SampledCrossEntropy": "objectives.answers",
    "SoftScores": "objectives.answers",
    "Task": "module",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _MODULES)
