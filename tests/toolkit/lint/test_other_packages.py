"""Packages that this project does not make: the shapes of a ResNet, a MobileNet, and a recurrent tagger."""

import coremltools as ct
import numpy as np
import pytest
import torch
from torch import nn

from tests.toolkit.lint.programs import findings_in


class Residual(nn.Module):
    """The stem and one block of a ResNet-18."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.block = nn.Sequential(nn.Conv2d(64, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.ReLU())
        self.head = nn.Linear(64, 1000)

    def forward(self, x):
        x = self.stem(x)
        return self.head((x + self.block(x)).mean(dim=(2, 3)))


class Mobile(nn.Module):
    """A depthwise block of a MobileNet v3 with squeeze and excitation, and global pooling."""

    def __init__(self):
        super().__init__()
        self.depthwise = nn.Conv2d(16, 16, 5, 2, 2, groups=16)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 1))
        self.project = nn.Conv2d(16, 32, 1)

    def forward(self, x):
        x = nn.functional.hardswish(self.depthwise(x))
        return self.project(x * nn.functional.hardsigmoid(self.gate(x)))


class Tagger(nn.Module):
    """Words to tags: an embedding, an LSTM, the best tag."""

    def __init__(self):
        super().__init__()
        self.words, self.lstm, self.tags = nn.Embedding(500, 64), nn.LSTM(64, 64, batch_first=True), nn.Linear(64, 32)

    def forward(self, x):
        return self.tags(self.lstm(self.words(x))[0]).argmax(dim=-1)


IMAGE = torch.zeros(1, 3, 224, 224)
# Severe first: what a reader of the three would expect, and nothing more.
EXPECTED = {
    "residual": (Residual, IMAGE, {"warning": set(), "info": {"cast", "small-graph", "narrow-last-axis"}}),
    "mobile": (Mobile, torch.zeros(1, 16, 64, 64), {"warning": set(), "info": {"cast", "small-graph"}}),
    "tagger": (Tagger, torch.zeros(1, 8, dtype=torch.int32), {"warning": {"lookup", "recurrent", "no-kernel"}}),
}


def converted(module, example, folder):
    """As coremltools converts by default, in float16."""
    dtype = np.int32 if example.dtype == torch.int32 else np.float32
    model = ct.convert(
        torch.jit.trace(module.eval(), example),
        inputs=[ct.TensorType("x", shape=tuple(example.shape), dtype=dtype)],
        outputs=[ct.TensorType("y")],
        minimum_deployment_target=ct.target.iOS17,
        skip_model_load=True,
    )
    model.save(str(folder / "other.mlpackage"))
    return folder / "other.mlpackage"


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # torch's own LSTM looks at its input
@pytest.mark.parametrize("name", EXPECTED)
def test_findings(name, tmp_path):
    module, example, expected = EXPECTED[name]
    found = findings_in(converted(module(), example, tmp_path))
    for severity, rules in expected.items():
        assert {f.rule.id for f in found if f.severity == severity} == set(rules)
