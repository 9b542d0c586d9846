"""A small configuration as YAML text."""

SMALL = """
name: small
corpus: {source: generated, size: 200}
features:
  logmel: {extractor: logmel, bands: 16}
  text: {extractor: hashed_text, width: 16}
model: {hidden: 32, stack: {logmel: 8}}
training:
  batch_size: 4
  stage1: {epochs: 3, learning_rate: 1e-3}
members:
  - {id: both, modalities: [logmel, text]}
  - {id: other, modalities: [text], seed: 5, model: {hidden: 64}, training: {stage1: {epochs: 9}}}
"""
