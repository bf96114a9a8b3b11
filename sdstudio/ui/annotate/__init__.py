"""The parts of the Annotate page, one file a job."""
