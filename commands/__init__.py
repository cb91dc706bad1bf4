"""What the three commands do, one module per action; the command files above only declare their options."""
