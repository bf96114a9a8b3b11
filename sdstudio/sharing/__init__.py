"""What a run learned, taken out of the studio: as a file of another program, or to the Hub with a card."""
