# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the farm keeps the truth: updates in SQL, bytes by sha256, logs of attempts. It decides nothing."""
