"""The sources that several rules share. `read` stands before the date where a source bears none of its own."""

from toolkit.lint.rule import Source

READ = "read 2026-11"

APPLE = Source("Apple, coreai-models, skill model-authoring: Neural Engine Rules", READ, "Apple")
APPLE_RESEARCH = Source("machinelearning.apple.com/research/neural-engine-transformers", "2022-06", "Apple")
APPLE_ANE_TRANSFORMERS = Source("apple/ml-ane-transformers README", READ, "Apple")
ANEFORGE_SWEEP = Source("ANEForge full_mil_vocabulary_sweep.json: 166 MIL ops compiled on an M5", READ, "measured")
ANEFORGE_TARGETS = Source("ANEForge _targets.py: limits measured on M1, M2 and M5", READ, "measured")
ANEFORGE_COMPILE = Source("ANEForge _compile.py, release 0.5.0", READ, "measured")
ANEMLL = Source("Anemll docs: manual_conversion.md, qwen3.md", READ, "practice")
MOBIUS = Source("FluidInference/mobius ANE_Candidates.md", READ, "measured")
PROFILER = Source("FluidAudio ANE_Profiler.md", READ, "measured")
EEANE = Source("eeANE 1.6.1 ne_limits.py: bisected on an M2, macOS 27.0.1", READ, "measured")
HOLLANCE = Source("hollance/neural-engine unsupported-layers.md", "2020, last change 2025-03", "practice")
WHISPERKIT_PLANS = Source("compute plans published with WhisperKit models (*.mlcomputeplan.json)", READ, "measured")


def coremltools_issue(number: int) -> Source:
    """A report with a program that reproduces it."""
    return Source(f"apple/coremltools#{number}", READ, "measured")
