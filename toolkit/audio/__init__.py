"""Audio in: reading and resampling, feature front ends."""
