# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings signed uploads to a target's incoming queue. Knows bytes and names, and never what is in them."""
