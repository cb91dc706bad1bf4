"""The ladder: what is compared with what, stage by stage, within which gate."""
