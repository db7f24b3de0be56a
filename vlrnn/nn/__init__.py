"""Networks: recurrences, encoders, decoders, attention, fusion. Torch alone; never Lightning.

Recipes and checkpoints name a class by this package: `vlrnn.nn.LSTM`.
"""

from vlrnn import lazy_names

_NAMES = {
    "attention": "Attention DotAttention SoftAttention",
    "decoders.base": "Decoder DecoderOutput",
    "decoders.ensemble": "Ensemble",
    "decoders.language_model": "RecurrentLanguageModel",
    "decoders.show_attend_tell": "ShowAttendTell",
    "decoders.show_tell": "ShowAndTell",
    "encoders.base": "BlindEncoder Context Encoder",
    "encoders.module_encoder": "ModuleEncoder",
    "encoders.precomputed": "PrecomputedRegions",
    "encoders.timm": "TimmEncoder",
    "encoders.torchvision_cnn": "TorchvisionEncoder",
    "fusion": "Concatenation Fusion MLB Mutan ProductFusion SumFusion",
    "question_encoder": "LastStep MaxOverTime MeanOverTime NoQuestion "
    "QuestionEncoder RecurrentQuestionEncoder SequenceClassifier TemporalPooling",
    "question_image": "MeanPool QuestionGuidedAttention VisualPooling",
    "recurrent.base": "LayeredRecurrence Recurrence",
    "recurrent.causal_attention": "CausalSelfAttention",
    "recurrent.linear": "LRU MinGRU MinLSTM RGLRU",
    "recurrent.lstm_variants": "CoupledLSTM LayerNormLSTM PeepholeLSTM",
    "recurrent.mamba": "Mamba",
    "recurrent.rnn": "GRU LSTM RNN",
    "recurrent.rwkv": "RWKV",
    "recurrent.wrappers": "Bidirectional HighwayStack ResidualStack",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _NAMES)
