# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole farm in one folder of one machine: prepared on the first start, and looked after by supervisord.

It starts what the other packages are; it makes no decision about an update and never opens the signer's keys.
"""

from coordinator.embedded.farm import down, forget, offered, running, status, stay, up
from coordinator.embedded.supervisor import ServiceRow, ServiceState

__all__ = ["ServiceRow", "ServiceState", "down", "forget", "offered", "running", "status", "stay", "up"]
