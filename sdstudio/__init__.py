"""SD Studio: annotate, train, generate, evaluate."""
