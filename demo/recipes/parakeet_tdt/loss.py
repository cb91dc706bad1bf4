"""The TDT loss as one recursion over the anti-diagonals of the frame-by-token grid.

The loss of transformers 5.23 (`loss/loss_tdt.py`) casts labels to int32, which torch 2.7's gather refuses; this one
gives the same value at the same sigma. It also takes a window of frames for every token, from the known word
boundaries, so that tokens learn to fall where their words are.
"""

import torch
from torch.nn.functional import pad

NEVER = -1e4
OUTSIDE = -12.0  # log-penalty of a token outside its window
SIGMA = 0.1  # log-penalty of every step, so that few long steps beat many short ones (section 3 of the TDT paper)


def skewed(grid: torch.Tensor) -> torch.Tensor:
    """Return [B, T, U, D] -> [T + U - 1, B, U, D]: row n holds the cells with t + u = n, NEVER where there is none."""
    _, frames, tokens, _ = grid.shape
    grid = pad(grid, (0, 0, 0, 0, 0, tokens - 1), value=NEVER)
    columns = [grid[:, :, u].roll(u, dims=1) for u in range(tokens)]
    return torch.stack(columns, dim=2).transpose(0, 1)[: frames + tokens - 1]


def tdt_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    frames: torch.Tensor,
    tokens: torch.Tensor,
    windows: torch.Tensor | None,
    vocab_size: int,
    durations: tuple[int, ...] = (0, 1, 2, 3, 4),
    sigma: float = SIGMA,
) -> torch.Tensor:
    """Return the mean over the batch of the negative log-likelihood of each utterance per token.

    Args:
        logits: joint outputs [B, T, U + 1, vocab_size + len(durations)]; blank is the last id of the vocabulary.
        labels: token ids int64 [B, U], any id where padded.
        frames: valid encoder frames int64 [B].
        tokens: valid labels int64 [B].
        windows: first and last frame of each token int64 [B, U, 2], or None for no limits.
        vocab_size: how many of the outputs are tokens, blank included.
        durations: frames that each of the other outputs stands for; the first is 0.
        sigma: log-penalty of every step.
    """
    token_logp = logits[..., :vocab_size].log_softmax(-1) - sigma
    duration_logp = logits[..., vocab_size:].log_softmax(-1)
    blank = token_logp[..., -1:] + duration_logp[..., 1:]  # [B, T, U + 1, 4]: a blank must advance
    index = labels[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
    label = token_logp[:, :, :-1].gather(-1, index)
    if windows is not None:
        at = torch.arange(logits.shape[1])[None, :, None]
        inside = (at >= windows[:, None, :, 0]) & (at <= windows[:, None, :, 1])
        label = label + torch.where(inside, 0.0, OUTSIDE)[..., None]
    label = pad(label + duration_logp[:, :, :-1], (0, 0, 0, 1), value=NEVER)  # [B, T, U + 1, 5]
    return (-_total(skewed(blank), skewed(label), frames, tokens, durations) / tokens.clamp(min=1)).mean()


def _total(
    blank: torch.Tensor, label: torch.Tensor, frames: torch.Tensor, tokens: torch.Tensor, durations: tuple[int, ...]
) -> torch.Tensor:
    """Run the forward recursion on skewed arcs [N, B, U + 1, D]; return the log-likelihood [B]."""
    rows, batch, width, _ = blank.shape
    first = torch.full((batch, width), NEVER)
    first[:, 0] = 0.0
    reached, blanks, labels = [first], [first[..., None] + blank[0]], [first[..., None] + label[0]]
    for n in range(1, rows):
        arcs = [blanks[n - d][..., i] for i, d in enumerate(durations[1:]) if n >= d]
        arcs += [pad(labels[n - d - 1][:, :-1, i], (1, 0), value=NEVER) for i, d in enumerate(durations) if n > d]
        alpha = torch.stack(arcs).logsumexp(0).clamp(min=2 * NEVER)
        reached.append(alpha)
        blanks.append(alpha[..., None] + blank[n])
        labels.append(alpha[..., None] + label[n])
    everything, rows_of = torch.stack(blanks), torch.arange(batch)  # [N, B, U + 1, 4]
    ends = []
    for i, duration in enumerate(durations[1:]):
        row = frames - duration + tokens
        end = everything[row.clamp(min=0), rows_of, tokens, i]
        ends.append(torch.where(frames >= duration, end, NEVER))
    return torch.stack(ends).logsumexp(0)
