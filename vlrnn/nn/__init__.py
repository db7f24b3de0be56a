"""The networks: recurrences, encoders, attention, decoders. Torch only, never Lightning."""
