"""The nouns of the studio: frozen dataclasses that travel as JSON, and the records that plug-ins fill.

Light imports only: pages and the command line read this without loading torch.
"""

from sdstudio.schema.annotating import CaptionConfig as CaptionConfig
from sdstudio.schema.annotating import CaptionSetting as CaptionSetting
from sdstudio.schema.annotating import ImportConfig as ImportConfig
from sdstudio.schema.annotating import PushConfig as PushConfig
from sdstudio.schema.annotating import TryCaptionsConfig as TryCaptionsConfig
from sdstudio.schema.evaluating import Comparison as Comparison
from sdstudio.schema.evaluating import MetricResult as MetricResult
from sdstudio.schema.evaluating import Protocol as Protocol
from sdstudio.schema.generating import Extra as Extra
from sdstudio.schema.generating import GenerateConfig as GenerateConfig
from sdstudio.schema.generating import GeneratedImage as GeneratedImage
from sdstudio.schema.generating import ModelRef as ModelRef
from sdstudio.schema.generating import SampleSettings as SampleSettings
from sdstudio.schema.generating import StartPicture as StartPicture
from sdstudio.schema.grids import Axis as Axis
from sdstudio.schema.grids import GridConfig as GridConfig
from sdstudio.schema.jobs import ENDED as ENDED
from sdstudio.schema.jobs import Device as Device
from sdstudio.schema.jobs import Estimate as Estimate
from sdstudio.schema.jobs import Job as Job
from sdstudio.schema.jobs import JobKind as JobKind
from sdstudio.schema.jobs import JobState as JobState
from sdstudio.schema.jobs import Placement as Placement
from sdstudio.schema.judging import Box as Box
from sdstudio.schema.judging import Finding as Finding
from sdstudio.schema.judging import LogoConfig as LogoConfig
from sdstudio.schema.judging import LogoFindings as LogoFindings
from sdstudio.schema.judging import Reading as Reading
from sdstudio.schema.pictures import CaptionedImage as CaptionedImage
from sdstudio.schema.pictures import CaptionSource as CaptionSource
from sdstudio.schema.pictures import Snapshot as Snapshot
from sdstudio.schema.records import Captioner as Captioner
from sdstudio.schema.records import Detector as Detector
from sdstudio.schema.records import Export as Export
from sdstudio.schema.records import Family as Family
from sdstudio.schema.records import Feature as Feature
from sdstudio.schema.records import Guidance as Guidance
from sdstudio.schema.records import Method as Method
from sdstudio.schema.records import Metric as Metric
from sdstudio.schema.records import Reader as Reader
from sdstudio.schema.training import Checkpoint as Checkpoint
from sdstudio.schema.training import ExportConfig as ExportConfig
from sdstudio.schema.training import ExtraDataset as ExtraDataset
from sdstudio.schema.training import LoopConfig as LoopConfig
from sdstudio.schema.training import PublishConfig as PublishConfig
from sdstudio.schema.training import TrainConfig as TrainConfig
from sdstudio.validation import STRICT as STRICT
from sdstudio.validation import UserError as UserError
from sdstudio.validation import check_bounds as check_bounds
from sdstudio.validation import from_json as from_json
from sdstudio.validation import option as option
from sdstudio.validation import to_json as to_json
