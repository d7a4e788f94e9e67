"""From the logits of a step to the symbols that are drawn, under one request's controls and rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from ...core.model import Rule
from ...sampling.logits import draw, guided, probabilities
from ...sampling.penalties import Seen, Steering, steered
from .options import Controls


class Choice:
    """Draws a symbol for each row under way, and remembers what each has drawn where a control asks for it."""

    def __init__(
        self,
        controls: Controls,
        rules: Sequence[Sequence[Rule]],
        *,
        history: Tensor,
        counted: Tensor,
        vocab: int,
        start: int | None,
        end: int | None,
    ) -> None:
        """`history` `(B, n)`, of which `counted` is what each row begins with."""
        self.controls, self.rules = controls, [list(those) for those in rules]
        self.start = start
        self.steering = Steering(
            repetition=controls.repetition_penalty,
            presence=controls.presence_penalty,
            frequency=controls.frequency_penalty,
            bias=controls.logit_bias,
            allowed=controls.allowed,
            banned=controls.banned,
            no_repeat=controls.no_repeat_ngram,
            least=controls.min_length,
            end=end,
        )
        neutral = all(
            getattr(self.steering, field.name) == getattr(Steering(), field.name)
            for field in dataclasses.fields(Steering)
            if field.name != "end"
        )
        steers = not neutral or bool(self.rules)
        self.seen = Seen(history, counted & (history != (-1 if start is None else start)), vocab) if steers else None

    def __call__(
        self, logits: Tensor, uniform: Tensor, drawn: Tensor, *, guides: bool, allowed: Tensor | None = None
    ) -> Tensor:
        """Symbols `(B,)` of logits `(B, vocab)`, or `(2 B, vocab)` where those without a condition follow each row's.

        `drawn` `(B,)` counts what each row drew before, `allowed` `(B, vocab)` is what has a place there at all.
        Raises UserError where a row is left without any symbol.
        """
        controls = self.controls
        logits = self.steered(logits, drawn, guides=guides, allowed=allowed)
        chances = probabilities(
            logits,
            temperature=controls.temperature,
            top_k=controls.top_k,
            top_p=controls.top_p,
            min_p=controls.min_p,
            typical_p=controls.typical_p,
        )
        return draw(chances, uniform)

    def steered(self, logits: Tensor, drawn: Tensor, *, guides: bool, allowed: Tensor | None = None) -> Tensor:
        """Logits `(B, vocab)` after all that is not of a draw: guidance, penalties, biases and bans.

        Raises UserError where a row is left without any symbol.
        """
        if guides:
            conditional, unconditional = logits.unflatten(0, (-1, 2)).unbind(1)
            logits = guided(conditional, unconditional, self.controls.guidance)
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        if self.start is not None:
            logits = logits.index_fill(1, torch.tensor(self.start, device=logits.device), -torch.inf)
        if self.seen is not None:
            logits = steered(logits, self.steering, self.seen, self.rules, drawn)
        return logits

    def advance(self, symbols: Tensor) -> None:
        """These were drawn, or given, one for each row under way."""
        if self.seen is not None:
            self.seen.advance(symbols)
        if self.rules:
            for symbol, those in zip(symbols.tolist(), self.rules, strict=True):
                for rule in those:
                    rule.advance(symbol)

    def select(self, rows: Sequence[int]) -> None:
        """Rows become those, one of them perhaps twice; they go their own way from here on."""
        if self.rules:
            self.rules = [[rule.fork() for rule in self.rules[row]] for row in rows]
        if self.seen is not None:
            self.seen = self.seen.select(torch.tensor(rows, device=self.seen.lengths.device))

    def leave(self, row: int) -> None:
        """That row is done; the last one takes its place."""
        if self.rules:
            self.rules[row] = self.rules[-1]
            self.rules.pop()
        if self.seen is not None:
            rows = torch.arange(len(self.seen.lengths) - 1, device=self.seen.lengths.device)
            if row < len(rows):
                rows[row] = len(rows)
            self.seen = self.seen.select(rows)
