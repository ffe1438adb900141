# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract between coordinator and worker: stdlib only, closed, versioned.

No type here may have a field that could carry a key, a database address or a Python object.
"""
