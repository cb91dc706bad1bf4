"""From a wrapper to a package: checkpoints, tracing, conversion, the whole bundle."""
