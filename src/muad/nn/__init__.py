"""Network parts: the frozen encoder and the token mixers of the decoder."""
