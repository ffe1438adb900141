# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker side: obeys one order at a time and answers with one report.

May be copied alone into an image: it must never import `coordinator`, open a database or hold a signing key.
"""
