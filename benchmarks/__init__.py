# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what the farm costs and how fast it is: each script prints its figures with what they are compared with.

A benchmark measures and proves nothing; what must hold is in `tests`. Run one as `python -m benchmarks.NAME`.
"""
