"""Published benchmarks: download their files and convert them to stores.

`plan_download` and `download` fetch the files, `import_benchmark` converts them, and `check_store` inspects a store.
`BENCHMARKS` lists the benchmarks and their split protocols.
"""

from astseg.data.benchmarks.benchmark_import import import_benchmark
from astseg.data.benchmarks.downloading import DownloadPlan, download, plan_download
from astseg.data.benchmarks.import_settings import ImportProgress
from astseg.data.benchmarks.protocols import Portion, Protocol
from astseg.data.benchmarks.registry import BENCHMARKS, Benchmark, get_benchmark
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
    "check_store",
    "download",
    "get_benchmark",
    "import_benchmark",
    "plan_download",
]
