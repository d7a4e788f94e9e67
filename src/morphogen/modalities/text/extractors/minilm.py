"""MiniLM: published sentence embeddings, through `transformers`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from morphogen.core.errors import UserError, one_line
from morphogen.core.extractor import Extractor
from morphogen.nn.pretrained import PublishedModel, read_settings

_AT_ONCE = 16
_TOKENIZER, _SETTINGS = "tokenizer.json", "sentence_bert_config.json"
MINILM = PublishedModel(
    name="minilm",
    identifier="sentence-transformers/all-MiniLM-L6-v2",
    classes={"bert": "BertModel"},
    files=(_TOKENIZER, _SETTINGS),
)


class SentenceEmbedding(Extractor[Sequence[str]]):
    """Embeddings of texts: the mean over their tokens, normalised to length one (Reimers & Gurevych 2019)."""

    modality = "text"

    def __init__(self, name: str, tokenizer: Any, model: Any) -> None:
        self.name, self._tokenizer, self._model = name, tokenizer, model

    @torch.no_grad()
    def features(self, items: Sequence[str]) -> Tensor:
        ids = [torch.tensor(encoding.ids) for encoding in self._tokenizer.encode_batch(list(items))]
        features = torch.empty(len(ids), self._model.config.hidden_size)
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))  # little padding
        for start in range(0, len(order), _AT_ONCE):
            batch = order[start : start + _AT_ONCE]
            mask = pad_sequence([torch.ones_like(ids[index]) for index in batch], batch_first=True)
            padded = pad_sequence([ids[index] for index in batch], batch_first=True)
            hidden = self._model(input_ids=padded, attention_mask=mask).last_hidden_state
            # Normalising makes the sum over tokens equal to the mean.
            features[batch] = functional.normalize((hidden * mask[..., None]).sum(1), dim=1)
        return features


def open_minilm(weights: Path | str | None) -> SentenceEmbedding:
    """Return MiniLM sentence embeddings (Wang et al. 2020; all-MiniLM-L6-v2).

    Raises UserError without the package, the weights or the network, and where the weights do not fit.
    """
    folder, model, name = MINILM.load(weights, add_pooling_layer=False)
    import tokenizers

    path = folder / _TOKENIZER
    if not path.is_file():
        raise UserError(f"there is no {_TOKENIZER} in {folder}; {MINILM.advice}")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no more specific type
        raise UserError(f"{path} cannot be read ({one_line(error)}); {MINILM.advice}") from None
    settings = read_settings(folder / _SETTINGS) if (folder / _SETTINGS).exists() else {}
    # 256 is the limit of all-MiniLM-L6-v2; its tokenizer.json would truncate to 128, and pad.
    tokenizer.enable_truncation(min(settings.get("max_seq_length") or 256, model.config.max_position_embeddings))
    tokenizer.no_padding()
    return SentenceEmbedding(name, tokenizer, model)
