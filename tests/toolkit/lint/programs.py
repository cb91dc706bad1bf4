"""Tiny programs for the rules: each is a function of MIL variables, built with coremltools' builder."""

import numpy as np
from coremltools.converters.mil import Builder as mb

from milrun.package import open_package
from milrun.program import parse_program
from tests.milrun.harness import save_program
from toolkit.lint.forecast import findings_of
from toolkit.lint.target import Target
from toolkit.lint.view import FunctionView


def half(*shape):
    """A float16 example input."""
    return np.zeros(shape, dtype=np.float16)


def weights(*shape):
    """Float16 weights that no pass could fold away."""
    return np.linspace(-1, 1, int(np.prod(shape))).astype(np.float16).reshape(shape)


def views_of(path):
    """Every function of a package."""
    package = open_package(path)
    return [FunctionView.of(package, function) for function in parse_program(package).functions.values()]


def findings_in(path, target=Target()):  # noqa: B008  (frozen)
    """The findings of a package."""
    return [finding for view in views_of(path) for finding in findings_of("op", view, target)]


def rules_of(build, inputs, folder, target=Target(), opset="iOS18"):  # noqa: B008  (frozen)
    """Ids of the rules that a program triggers."""
    return {finding.rule.id for finding in findings_in(save_program(build, inputs, folder, opset), target)}


def conv(x, *kernel, strides=(1, 1), dilations=(1, 1)):
    """A convolution of 4 channels."""
    pad_type = "valid"
    weight = weights(4, 4, *kernel)
    rank = len(kernel)
    return mb.conv(x=x, weight=weight, strides=strides[:rank], dilations=dilations[:rank], pad_type=pad_type)
