"""Decoding loops of the host side, in NumPy: transducer, sequence to sequence, flow."""
