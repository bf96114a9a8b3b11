"""Generated pictures as files: what each says of itself, how they are listed, and what a new one begins from."""
