"""Figures and the one-file HTML report."""

from lensllm.report.html import write_plan, write_report

__all__ = ["write_plan", "write_report"]
