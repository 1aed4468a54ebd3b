"""The record on disk, estimates, verdicts, the regression gate and reports."""
