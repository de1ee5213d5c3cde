"""Report runs beside the published figures: mean and deviation over seeds, and differences in the protocol."""

from astseg.paper.report.formats import write_as
from astseg.paper.report.results import Group, Result, group_results, read_results
from astseg.paper.report.tables import Report, Row, Table, build_report

__all__ = [
    "Group",
    "Report",
    "Result",
    "Row",
    "Table",
    "build_report",
    "group_results",
    "read_results",
    "write_as",
]
