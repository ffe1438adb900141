# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: facts to stdout, everything else to stderr, and never a question without a terminal."""
