"""Image captioning and visual question answering with recurrent networks."""

from vlrnn.lazy_names import lazy_names

__version__ = "0.2.0"

_MODULES = {
    "BlindEncoder": "nn.encoders.base",
    "Captioner": "tasks.captioning",
    "DotAttention": "nn.attention",
    "Example": "data.records",
    "GRU": "nn.recurrent.rnn",
    "GenerationConfig": "generation.search",
    "LSTM": "nn.recurrent.rnn",
    "LanguageModel": "tasks.language_model",
    "Prediction": "data.records",
    "Predictor": "inference.predictor",
    "RNN": "nn.recurrent.rnn",
    "RecurrentLanguageModel": "nn.decoders.language_model",
    "SequenceClassifier": "nn.sequence_classifier",
    "ShowAndTell": "nn.decoders.show_tell",
    "ShowAttendTell": "nn.decoders.show_attend_tell",
    "SoftAttention": "nn.attention",
    "TextDataModule": "data.text_datamodule",
    "TorchvisionEncoder": "nn.encoders.torchvision_cnn",
    "UserError": "errors",
    "VisionLanguageData": "data.datamodule",
    "Vocabulary": "text.vocabulary",
    "from_pretrained": "training.checkpoint",
    "pipeline": "inference.pipeline",
    "save_pretrained": "training.checkpoint",
    "score_answers": "metrics",
    "score_captions": "metrics",
    "tokenize": "text.ptb_tokenizer",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _MODULES)
