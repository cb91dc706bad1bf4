"""The examples of a model card: how to load a bundle's packages in Python and in Swift."""

from toolkit.bundle.manifest import ComponentEntry, Manifest
from toolkit.publish.tables import compute_units

_SWIFT_UNITS = {
    "ALL": ".all",
    "CPU_ONLY": ".cpuOnly",
    "CPU_AND_GPU": ".cpuAndGPU",
    "CPU_AND_NE": ".cpuAndNeuralEngine",
}


def python_example(manifest: Manifest, repository: str) -> str:
    """Loading one package with coremltools, on a Mac: its function, and its state where it has one."""
    component = _example(manifest)
    function = _example_function(component)
    package = component.package(function)
    named = f', function_name="{package.functions[function]}"' if len(package.functions) > 1 else ""
    state = "\nstate = model.make_state()  # one per utterance" if component.function(function).states else ""
    handed = ", state=state" if state else ""
    return f"""A single package in Python, on a Mac:

```python
import coremltools as ct
from huggingface_hub import snapshot_download

folder = snapshot_download("{repository}", local_dir="{repository.rpartition("/")[2]}")
units = ct.ComputeUnit.{compute_units(component)}
model = ct.models.MLModel(f"{{folder}}/{package.file}", compute_units=units{named}){state}
outputs = model.predict(inputs{handed})  # inputs: name -> NumPy array
```"""


def swift_example(manifest: Manifest) -> str:
    """Loading one package with Core ML's own classes: its function, and its state where it has one."""
    component = _example(manifest)
    function = _example_function(component)
    package = component.package(function)
    several = len(package.functions) > 1
    named = f'\nconfiguration.functionName = "{package.functions[function]}"' if several else ""
    stateful = bool(component.function(function).states)
    state = "\nlet state = model.makeState()  // one per utterance" if stateful else ""
    handed = ", using: state" if stateful else ""
    units = _SWIFT_UNITS.get(compute_units(component), ".all")
    return f"""A single package in Swift:

```swift
import CoreML

let compiled = try await MLModel.compileModel(at: URL(fileURLWithPath: "{package.file}"))
let configuration = MLModelConfiguration()
configuration.computeUnits = {units}{named}
let model = try MLModel(contentsOf: compiled, configuration: configuration){state}
let outputs = try await model.prediction(from: inputs{handed})  // inputs: an MLFeatureProvider
```

Compiling takes time: an application keeps the compiled model, and compiles again only after a system update."""


def _example(manifest: Manifest) -> ComponentEntry:
    """The component that shows most: one with states, else one with several functions, else the first."""
    return max(
        manifest.components,
        key=lambda c: (any(f.states for f in c.functions), max(len(p.functions) for p in c.packages) > 1),
    )


def _example_function(component: ComponentEntry) -> str:
    """The function that has states, else the first."""
    return next((f.name for f in component.functions if f.states), component.functions[0].name)
