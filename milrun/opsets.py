"""The opsets of MIL: each has two names."""

# The opset name of a function (MIL) -> the opset name coremltools gives it.
OPSETS = {
    "CoreML5": "iOS15",
    "CoreML6": "iOS16",
    "CoreML7": "iOS17",
    "CoreML8": "iOS18",
    "CoreML9": "iOS26",
}
