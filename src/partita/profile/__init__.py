"""What a model costs on this device, and what a link carries: measured, imported, compared."""

from .bench import Listener, Progress
from .calibrate import Calibration
from .codecs import measure_codec_pairs, measure_codecs
from .compare import ComparedStage, Comparison, compare_profiles
from .csv_import import ImportedModel, import_csv
from .device import this_device
from .energy import CounterMeter, Meter, PowerMeter, PowerModel
from .heap import steady_heap
from .link import LinkMeasurement, Rate, measure_link
from .measure import Measurement, measure, measure_calibrated
from .memory import MemoryUse, PeakMemory, activation_bytes, live_bytes, peak_in_child
from .rounds import Effort
from .sensors import Sighting, find_meters, survey_meters
from .threads import use_threads, with_threads

__all__ = [
    "Calibration",
    "ComparedStage",
    "Comparison",
    "CounterMeter",
    "Effort",
    "ImportedModel",
    "LinkMeasurement",
    "Listener",
    "Measurement",
    "MemoryUse",
    "Meter",
    "PeakMemory",
    "PowerMeter",
    "PowerModel",
    "Progress",
    "Rate",
    "Sighting",
    "activation_bytes",
    "compare_profiles",
    "find_meters",
    "import_csv",
    "live_bytes",
    "measure",
    "measure_calibrated",
    "measure_codec_pairs",
    "measure_codecs",
    "measure_link",
    "peak_in_child",
    "steady_heap",
    "survey_meters",
    "this_device",
    "use_threads",
    "with_threads",
]
