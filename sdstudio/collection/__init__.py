"""Every picture that the studio ever made: found again, marked, deleted with undo, taken out."""

from sdstudio.collection.finding import Page, Picture, Query, pictures, record
from sdstudio.collection.marks import Marks, mark, picture_path, read_marks, reference
from sdstudio.collection.negatives import bad_pictures, negatives_dataset
from sdstudio.collection.taking_out import export_folder, write_zip

__all__ = [
    "Marks",
    "Page",
    "Picture",
    "Query",
    "bad_pictures",
    "export_folder",
    "mark",
    "negatives_dataset",
    "picture_path",
    "pictures",
    "read_marks",
    "record",
    "reference",
    "write_zip",
]
