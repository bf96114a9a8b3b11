"""The parts of the Train page: the form of a new run, a run while it learns, several runs compared, sweeps."""
