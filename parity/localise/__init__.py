"""The op-level debugger: the first op of a package that is out of bounds, and the range of every value."""
