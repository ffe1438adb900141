# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins behind the ports. Each passes the same contract suite as the real adapter; none is ever shipped."""
