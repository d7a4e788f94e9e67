"""Pretrained extractors of features of pictures."""
