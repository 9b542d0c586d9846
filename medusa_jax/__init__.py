"""MEDUSA: multimodal deep-fusion, multi-stage training for speech emotion recognition, in JAX."""
