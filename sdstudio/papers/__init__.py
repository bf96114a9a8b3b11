"""Published comparisons, done again: what they compared, trained and measured anew, and which of their orders held."""
