# SPDX-License-Identifier: GPL-3.0-or-later
"""The API, one module for each noun of its addresses. A handler asks the coordinator; it decides nothing."""
