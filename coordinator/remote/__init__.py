# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers on other hosts: added, upgraded and removed over SSH. A host is never trusted with more than a worker.

What a host answers is data of a stranger. Nothing of the farm's but one worker's token and settings is ever sent there.
"""
