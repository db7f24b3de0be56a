"""Networks: recurrences, encoders, decoders, attention, fusion. Torch alone; never Lightning.

Recipes and checkpoints name a class by this package: `vlrnn.nn.LSTM`.
"""

from vlrnn.lazy_names import lazy_names

_MODULES = {
    "Addition": "fusion",
    "Attention": "attention",
    "Bidirectional": "recurrent.wrappers",
    "CNNEncoder": "encoders.torchvision_cnn",
    "CausalSelfAttention": "recurrent.causal_attention",
    "Concatenation": "fusion",
    "CoupledLSTM": "recurrent.lstm_variants",
    "Decoder": "decoders.base",
    "DotAttention": "attention",
    "Encoder": "encoders.base",
    "Ensemble": "decoders.ensemble",
    "Fusion": "fusion",
    "GRU": "recurrent.rnn",
    "Glimpses": "question_image",
    "HighwayStack": "recurrent.wrappers",
    "LRU": "recurrent.linear",
    "LSTM": "recurrent.rnn",
    "Last": "question_encoder",
    "LayerNormLSTM": "recurrent.lstm_variants",
    "Layered": "recurrent.base",
    "Look": "question_image",
    "LowRankBilinear": "fusion",
    "Mamba": "recurrent.mamba",
    "Max": "question_encoder",
    "Mean": "question_encoder",
    "MinGRU": "recurrent.linear",
    "MinLSTM": "recurrent.linear",
    "ModuleEncoder": "encoders.module_encoder",
    "Mutan": "fusion",
    "NoImage": "encoders.blind",
    "NoQuestion": "question_encoder",
    "PeepholeLSTM": "recurrent.lstm_variants",
    "Pooling": "question_encoder",
    "Product": "fusion",
    "QuestionEncoder": "question_encoder",
    "RGLRU": "recurrent.linear",
    "RNN": "recurrent.rnn",
    "RWKV": "recurrent.rwkv",
    "Reader": "question_encoder",
    "Recurrence": "recurrent.base",
    "ResidualStack": "recurrent.wrappers",
    "SequenceClassifier": "sequence_classifier",
    "ShowAndTell": "decoders.show_tell",
    "ShowAttendTell": "decoders.show_attend_tell",
    "SoftAttention": "attention",
    "StreamDecoder": "decoders.language_model",
    "TimmEncoder": "encoders.timm",
    "WholeImage": "question_image",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _MODULES)
