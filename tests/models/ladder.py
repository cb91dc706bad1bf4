"""The ladder over a bundle without packages, and faults to plant in it."""

from dataclasses import replace

import pytest
import torch

from parity.ladder.engine import run_ladder
from parity.ladder.subject import ClipStream, Subject
from toolkit.runtimes.eager import EagerRuntime


def ladder_over(model, plan, bundle, checkpoint, clips, *, runtime=None, packages=False, options=None):
    """Run every stage on the wrappers of a plan, or on another runtime, which the packages stage then takes too."""
    eager = EagerRuntime(plan)
    subject = Subject(
        model=model,
        bundle=bundle,
        checkpoint=checkpoint,
        plan=plan,
        eager=eager,
        runtime=runtime or eager,
        packages=(runtime or eager) if packages else None,
        clips=ClipStream(clips, 2),
        options=options or {},
    )
    with pytest.MonkeyPatch.context() as patch:  # on a Mac too, Core ML has no package to load here
        patch.setattr("parity.ladder.engine.platform.system", lambda: "no Mac")
        return run_ladder(subject, {})


def rows(result, stage):
    """Output -> row of one stage."""
    return {row.output: row for s in result.stages if s.name == stage for row in s.rows}


def exchanged(plan, name, build):
    """The plan with another module in the place of one component."""
    return replace(plan, components=tuple(replace(c, build=build) if c.name == name else c for c in plan.components))


class Damaged(torch.nn.Module):
    """A component whose first output is scaled: what a damaged weight file looks like from outside."""

    def __init__(self, inner, scale):
        super().__init__()
        self.inner, self.scale = inner, scale

    def forward(self, *inputs):
        outputs = self.inner(*inputs)
        if not isinstance(outputs, tuple):
            return outputs * self.scale
        first, *rest = outputs
        return first * self.scale, *rest


def damaged_packages(plan, name, scale):
    """A runtime that stands for packages of which one is damaged."""
    good = plan.component(name).build
    runtime = EagerRuntime(exchanged(plan, name, lambda function: Damaged(good(function), scale)))
    runtime.name = "portable"
    return runtime
