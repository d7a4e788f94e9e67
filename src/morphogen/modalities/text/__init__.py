"""Text: documents of any length in any language, as characters, bytes or byte-level BPE tokens."""
