"""The parts of the Jobs page, and the small indicator of it that every page carries."""
