"""How any model is judged: the ladder, its measures, the op-level debugger and the report."""
