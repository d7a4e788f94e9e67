"""From the logits of a step to the sampled tokens, under the controls and token constraints of one request."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...core.model import TokenConstraint
from ...sampling.logits import controlled, draw, guided
from ...sampling.penalties import TokenHistory, process_logits
from ...sampling.token_controls import LogitControls


class TokenSampler:
    """Samples a token for each active sequence; keeps the tokens so far where a control or a constraint reads them."""

    def __init__(
        self,
        controls: LogitControls,
        constraints: Sequence[Sequence[TokenConstraint]] = (),
        *,
        history: Tensor,
        counted: Tensor,
        vocab: int,
        start: int | None = None,
        end: int | None = None,
        min_length: int = 0,
        guides: bool = False,
    ) -> None:
        """`history` `(B, n)`, of which `counted` `(B, n)` is what each sequence begins with; `start` is never sampled.

        `guides`: logits come in pairs, of each sequence with the condition and without.
        """
        self.controls, self.constraints, self.guides = controls, [list(own) for own in constraints], guides
        self.start, self.end, self.min_length = start, end, min_length
        self.history: TokenHistory | None = None
        if self.constraints or min_length or not controls.keeps_logits:
            counted = counted if start is None else counted & (history != start)
            self.history = TokenHistory(history, counted, vocab)

    def sample(self, logits: Tensor, uniform: Tensor, generated: Tensor) -> Tensor:
        """Return tokens `(B,)`; `uniform` `(B,)` decides, the others are those of `process`."""
        return draw(controlled(self.process(logits, generated), self.controls), uniform)

    def process(self, logits: Tensor, generated: Tensor) -> Tensor:
        """Return logits `(B, vocab)` after guidance, penalties, bias and bans; pairs come as `(2 B, vocab)`.

        `generated` `(B,)` counts the tokens that each sequence has generated.

        Raises UserError where a sequence has no token left.
        """
        if self.guides:
            conditional, unconditional = logits.unflatten(0, (-1, 2)).unbind(1)
            logits = guided(conditional, unconditional, self.controls.guidance)
        if self.start is not None:
            logits = logits.index_fill(1, torch.tensor(self.start, device=logits.device), -torch.inf)
        if self.history is None:
            return logits
        return process_logits(
            logits,
            self.controls,
            self.history,
            self.constraints,
            generated=generated,
            min_length=self.min_length,
            end=self.end,
        )

    def advance(self, tokens: Tensor) -> None:
        """Take note of the next token of each active sequence, sampled or given."""
        if self.history is not None:
            self.history.advance(tokens)
        if self.constraints:
            for token, own in zip(tokens.tolist(), self.constraints, strict=True):
                for constraint in own:
                    constraint.advance(token)

    def select(self, sequences: Sequence[int]) -> None:
        """Keep these sequences, in this order, one of them perhaps twice; copies continue independently."""
        if self.constraints:
            self.constraints = [
                [constraint.fork() for constraint in self.constraints[sequence]] for sequence in sequences
            ]
        if self.history is not None:
            self.history = self.history.select(torch.tensor(sequences, device=self.history.lengths.device))

    def remove(self, sequence: int) -> None:
        """Drop a finished sequence; the last one takes its place."""
        if self.constraints:
            self.constraints[sequence] = self.constraints[-1]
            self.constraints.pop()
        if self.history is not None:
            sequences = torch.arange(len(self.history.lengths) - 1, device=self.history.lengths.device)
            if sequence < len(sequences):
                sequences[sequence] = len(sequences)
            self.history = self.history.select(sequences)
