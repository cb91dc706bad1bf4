"""Publishing a bundle: its model card, and its files on the hub in one commit."""
