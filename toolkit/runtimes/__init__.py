"""The runtimes: one protocol, three that execute a component, one that records."""
