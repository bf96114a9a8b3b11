"""The Evaluate page, a file for each of its tabs."""
