"""Benchmarks: one file per question; each prints its figures beside what is aimed at, or beside a rival in the same run."""
