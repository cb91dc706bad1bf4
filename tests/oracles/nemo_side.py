"""NeMo's side of the oracle, run by NeMo's own environment: `python nemo_side.py FOLDER`; imports nothing of ours.

FOLDER/jobs.json lists archives with the clips to run and the strategies to decode with; results go beside the archives.
"""

import json
import logging as standard_logging
import sys
from pathlib import Path

import numpy as np
import torch
from nemo.collections.asr.models import EncDecRNNTBPEModel
from nemo.utils import logging
from omegaconf import OmegaConf, open_dict

standard_logging.disable(standard_logging.WARNING)
logging.setLevel(logging.ERROR)


def decoded(model, encoded, length, strategy, max_symbols):
    """NeMo's own greedy decoding with token durations and times."""
    config = OmegaConf.create(OmegaConf.to_container(model.cfg.decoding))
    with open_dict(config):
        config.strategy = strategy
        config.greedy.max_symbols = max_symbols
        config.compute_timestamps = True
        config.preserve_alignments = True
        config.tdt_include_token_duration = True
    model.change_decoding_strategy(config, verbose=False)
    [hypothesis] = model.decoding.rnnt_decoder_predictions_tensor(encoded, length, return_hypotheses=True)
    times = hypothesis.timestamp
    return {
        "tokens": [int(t) for t in hypothesis.y_sequence],
        "frames": [int(t) for t in times["timestep"]],
        "durations": [int(d) for d in hypothesis.token_duration],
        "text": hypothesis.text,
        "words": [[w["word"], int(w["start_offset"]), int(w["end_offset"])] for w in times["word"]],
    }


def steps_of(result, frames):
    """Frame and number of tokens before it: at each token, and once at every frame."""
    at = np.array(result["frames"], int)
    tokens = [(int(frame), index) for index, frame in enumerate(at)]
    return tokens + [(frame, int((at < frame).sum())) for frame in range(frames)]


def inner(model, audio, job):
    """Features, encoder, prediction network and joint, each as NeMo computes it, and the decisions."""
    mel, mel_length = model.preprocessor(input_signal=audio[None], length=torch.tensor([len(audio)]))
    encoded, length = model.encoder(audio_signal=mel, length=mel_length)
    results = {f"{s}-{n}": decoded(model, encoded, length, s, n) for s, n in job["strategies"]}
    first = next(iter(results.values()))
    frames = model.joint.project_encoder(encoded.transpose(1, 2)[:, : int(length)])
    # The blank's embedding begins, as in `greedy_batch`; `add_sos` and `greedy` begin with zeros in its place.
    tokens = torch.tensor([[model.decoder.blank_idx, *first["tokens"]]], dtype=torch.long)
    predictions, _ = model.decoder.predict(tokens, state=None, add_sos=False)
    predictions = model.joint.project_prednet(predictions)
    steps = np.array(steps_of(first, int(length)))
    model.joint.log_softmax = False
    logits = model.joint.joint_after_projection(frames[0, steps[:, 0]][:, None], predictions[0, steps[:, 1]][:, None])[
        :, 0, 0
    ]  # [S, 1, 1, V + N] -> [S, V + N]
    arrays = {
        "mel": mel[0, :, : int(mel_length)].T,
        "encoder": encoded[0, :, : int(length)].T,
        "frames": frames[0],
        "predictions": predictions[0],
        "steps": steps,
        "token_logits": logits[:, : -len(job["durations"])],
        "duration_logits": logits[:, -len(job["durations"]) :],
    }
    return {k: np.asarray(v, np.int64 if k == "steps" else np.float32) for k, v in arrays.items()}, results


@torch.no_grad()
def main():
    folder = Path(sys.argv[1])
    for job in json.loads((folder / "jobs.json").read_text()):
        model = EncDecRNNTBPEModel.restore_from(str(folder / job["archive"]), map_location="cpu", strict=True).eval()
        found = {}
        for clip in job["clips"]:
            arrays, found[clip] = inner(model, torch.from_numpy(np.load(folder / f"{clip}.npy")), job)
            np.savez(folder / f"{job['name']}.{clip}.npz", **arrays)
        found["texts"] = [model.decoding.decode_tokens_to_str_with_strip_punctuation(ids) for ids in job["ids"]]
        found["plain"] = [model.decoding.decode_ids_to_str(ids) for ids in job["ids"]]
        found["marks"] = sorted(model.decoding.supported_punctuation or ())
        (folder / f"{job['name']}.json").write_text(json.dumps(found))
        print(f"{job['name']}: {len(job['clips'])} clips", flush=True)


main()
