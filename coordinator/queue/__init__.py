# SPDX-License-Identifier: GPL-3.0-or-later
"""The doorbell: Celery messages that wake workers, and a Redis list that wakes the engine. Neither carries truth."""
