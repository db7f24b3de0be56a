"""Training with Lightning: the base of all tasks, objectives, optimisation, checkpoints, recipes.

Recipes and checkpoints name a class by this package: `vlrnn.training.Optimization`.
"""

from vlrnn.lazy_names import lazy_names

_MODULES = {
    "AnswerLoss": "objectives.answers",
    "BiasProduct": "objectives.debiasing",
    "Debiased": "objectives.debiasing",
    "LearnedMixin": "objectives.debiasing",
    "LogitLoss": "objectives.answers",
    "MajorityAnswer": "objectives.answers",
    "Optimization": "optimization",
    "RUBi": "objectives.debiasing",
    "Reweighting": "objectives.debiasing",
    "SampledAnswer": "objectives.answers",
    "SoftAnswers": "objectives.answers",
    "Task": "module",
    "WordLoss": "objectives.cross_entropy",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _MODULES)
