# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipeline's decisions, one module per stage, pure. They never import each other; they meet in the model."""
