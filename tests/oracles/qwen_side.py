"""Qwen's side, run in an environment with `qwen-asr`: imports nothing of ours.

`qwen_side.py FOLDER` reads job.json and clips.npz there, and writes theirs.json and theirs.npz.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from qwen_asr.inference.qwen3_forced_aligner import Qwen3ForceAlignProcessor, Qwen3ForcedAligner
from transformers import AutoModel


def strict_names(folder):
    """Names that loading found missing, left over or of another shape."""
    _, report = AutoModel.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    return sorted({str(name) for names in report.values() for name in names})


def items_and_logits(aligner, clip, audio):
    """What `align` returns, and the logits at the markers."""
    kept = []
    keep = aligner.model.thinker.register_forward_hook(lambda module, inputs, output: kept.append(output.logits))
    ids = []
    ask = aligner.model.thinker.register_forward_pre_hook(
        lambda module, positional, named: ids.append(named["input_ids"]), with_kwargs=True
    )
    result = aligner.align((audio, 16000), clip["text"], clip["language"])[0]
    keep.remove()
    ask.remove()
    marked = (ids[0][0] == aligner.timestamp_token_id).numpy()
    items = [[item.text, item.start_time, item.end_time] for item in result]
    return items, kept[0][0].float().numpy()[marked]


def main(folder):
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    clips = np.load(folder / "clips.npz")
    texts = Qwen3ForceAlignProcessor()
    answers = {
        "splits": [texts.encode_timestamp(text, language)[0] for text, language in job["splits"]],
        "times": [texts.fix_timestamp(np.array(times)) for times in job["times"]],
        "checkpoints": {},
    }
    arrays = {}
    for name, checkpoint in job["checkpoints"].items():
        aligner = Qwen3ForcedAligner.from_pretrained(checkpoint, dtype=torch.float32, device_map="cpu")
        found = {"wrong": strict_names(checkpoint), "items": []}
        for number, clip in enumerate(job["clips"]):
            items, logits = items_and_logits(aligner, clip, clips[f"clip_{number}"])
            found["items"].append(items)
            arrays[f"{name}/{number}/logits"] = logits
        answers["checkpoints"][name] = found
    np.savez(folder / "theirs.npz", **arrays)
    (folder / "theirs.json").write_text(json.dumps(answers, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
