"""Reading a compiled model (`.mlmodelc`): what most speech models are published as.

Its program is text (`model.mil`), its interface a protobuf (`coremldata.bin`); both become the specification that a
package holds, so that everything else reads one form. A compiled pipeline is a folder of such models.
"""

from milrun.compiled.folder import is_compiled, part_folder, spec_from_compiled

__all__ = ["is_compiled", "part_folder", "spec_from_compiled"]
