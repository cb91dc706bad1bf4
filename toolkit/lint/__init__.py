"""A static forecast of what keeps an op, or a whole component, off the Neural Engine: rules with sources, as data."""
