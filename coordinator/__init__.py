# SPDX-License-Identifier: GPL-3.0-or-later
"""The coordinator: everything that may know the database. Keys live in `coordinator.signer` alone, its own process."""
