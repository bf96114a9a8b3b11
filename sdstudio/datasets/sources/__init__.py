"""Where pictures come from: one file is one kind of place, with a `Source` as its RECORD."""
