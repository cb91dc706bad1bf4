"""Is a file whole? What each container promises of itself, read from its structure; nothing is decoded here."""
