"""The published benchmarks: from the files that their own sites hand out to prepared stores.

`import_benchmark` reads the files, `plan_download` and `download` fetch them, `check_store` looks a store over;
`BENCHMARKS` lists what there is by name, with the protocols by which each can be divided.
"""

from astseg.data.benchmarks.benchmark_import import import_benchmark
from astseg.data.benchmarks.downloading import DownloadPlan, download, plan_download
from astseg.data.benchmarks.import_settings import ImportProgress
from astseg.data.benchmarks.protocols import Portion, Protocol
from astseg.data.benchmarks.registry import BENCHMARKS, Benchmark, benchmark
from astseg.data.benchmarks.store_check import SplitReport, StoreReport, check_store

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "DownloadPlan",
    "ImportProgress",
    "Portion",
    "Protocol",
    "SplitReport",
    "StoreReport",
    "benchmark",
    "check_store",
    "download",
    "import_benchmark",
    "plan_download",
]
