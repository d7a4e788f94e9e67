"""Pretrained extractors of features of texts."""
