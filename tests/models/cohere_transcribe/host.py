"""What the tests run on: the stock class and its processor, checkpoints whose end comes when wanted, pipelines."""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import AutoProcessor, CohereAsrForConditionalGeneration

from models.cohere_transcribe import MODEL, export
from models.cohere_transcribe.pipeline import Pipeline
from tests.models.audio import RATE
from tests.models.bundles import host_bundle
from tests.models.cohere_transcribe.tiny import save_tiny_checkpoint
from toolkit.runtimes.eager import EagerRuntime

FORMS = ("stateful", "external", "stateless")
PROMPT, CACHE, LONG_CACHE = 10, 40, 140
OPTIONS = {"audio_seconds": "4,8", "decoder": ",".join(FORMS), "max_tokens": CACHE, "head": "raw"}
NEVER, AT_ONCE = -1e3, 1e3


def planned(checkpoint, **options):
    """The plan of a checkpoint, with all decoders and small fixed lengths where none are given."""
    return export.plan(checkpoint, OPTIONS | options)


def opened(folder, plan, runtime=None, *, host=None, **options):
    """The pipeline on the eager runtime, or another."""
    return Pipeline(host_bundle(folder, MODEL, plan, host), runtime or EagerRuntime(plan), **options)


def save_with_end(folder, end_bias, **sizes):
    """A tiny checkpoint whose head says the end so much more, or less, often; returns the folder."""
    model = save_tiny_checkpoint(folder, **sizes)
    model.proj_out.bias[model.config.eos_token_id] += end_bias
    model.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Stock:
    """What the class and its processor say: tokens and logits [U, V] of each piece, its valid frames, the text."""

    tokens: list[list[int]]
    logits: list[np.ndarray]
    lengths: list[int]
    text: str


@torch.no_grad()
def stock(checkpoint, audio, language="en", *, punctuation=True, tokens=CACHE - PROMPT + 1, **settings):
    """The class as transformers documents it, all pieces in one batch, without any code of ours."""
    processor = AutoProcessor.from_pretrained(checkpoint)
    model = CohereAsrForConditionalGeneration.from_pretrained(checkpoint).eval()
    inputs = processor(audio, language=language, punctuation=punctuation, sampling_rate=RATE)
    index = inputs.pop("audio_chunk_index")
    generated = model.generate(
        **inputs, max_new_tokens=tokens, output_logits=True, return_dict_in_generate=True, **settings
    )
    rows = generated.sequences[:, inputs["decoder_input_ids"].shape[1] :].tolist()
    logits = torch.stack(generated.logits, dim=1).numpy()  # U x [B, V] -> [B, U, V]
    said = [_to_the_end(row, model.config.eos_token_id) for row in rows]
    text = processor.decode(generated.sequences, skip_special_tokens=True, audio_chunk_index=index, language=language)
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    return Stock(said, [scores[: len(row)] for scores, row in zip(logits, said, strict=True)], lengths, text[0])


def _to_the_end(row, eos_id):
    """Without what pads a shorter row of a batch."""
    return row[: row.index(eos_id) + 1] if eos_id in row else row


def forced_logits(pipeline, encoded, tokens):
    """Logits [U, V] of the pipeline's decoder along given tokens."""
    decoder = pipeline.start(encoded)
    rows = [decoder.prefill(np.array(pipeline.prompt, np.int32))]
    return np.stack(rows + [decoder.step(token) for token in tokens[:-1]])


def ids(decoded):
    """Tokens as `generate` returns them."""
    return [choice.token_id for choice in decoded.choices]
