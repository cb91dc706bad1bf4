"""classify, the op behind a classifier's label and probabilities.

Oracle: literal.
"""

import coremltools as ct
import numpy as np
import pytest
import torch

import milrun


@pytest.mark.parametrize("labels", [["cat", "dog", "owl"], [7, -1, 3]])
def test_classify(labels, tmp_path):
    traced = torch.jit.trace(torch.nn.Identity(), torch.zeros(1, 3))
    model = ct.convert(
        traced,
        inputs=[ct.TensorType("x", (1, 3))],
        classifier_config=ct.ClassifierConfig(labels),
        compute_precision=ct.precision.FLOAT32,
        minimum_deployment_target=ct.target.iOS17,
        skip_model_load=True,
    )
    model.save(str(tmp_path / "classifier.mlpackage"))
    loaded = milrun.load(tmp_path / "classifier.mlpackage")
    assert loaded.function.op_counts["classify"] == 1
    outputs = loaded.predict({"x": np.array([[0.25, 0.5, 0.125]], np.float32)})
    assert outputs["classLabel"] == labels[1]
    assert outputs["classLabel_probs"] == dict(zip(labels, [0.25, 0.5, 0.125], strict=True))
