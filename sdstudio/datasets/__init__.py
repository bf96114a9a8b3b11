"""Pictures and captions: intake, the caption store, import, export, captioning."""

from sdstudio.datasets.catalog import DatasetInfo, create_dataset, dataset_exists, list_datasets, open_dataset
from sdstudio.datasets.export import export_dataset
from sdstudio.datasets.history import HistoryEntry
from sdstudio.datasets.importer import ImportReport, import_folder, import_pictures
from sdstudio.datasets.intake import RefusedPicture
from sdstudio.datasets.store import PERSON, Conflict, DatasetStore
from sdstudio.datasets.uploads import stage_uploads

__all__ = [
    "PERSON",
    "Conflict",
    "DatasetInfo",
    "DatasetStore",
    "HistoryEntry",
    "ImportReport",
    "RefusedPicture",
    "create_dataset",
    "dataset_exists",
    "export_dataset",
    "import_folder",
    "import_pictures",
    "list_datasets",
    "open_dataset",
    "stage_uploads",
]
