"""pyinfra's own switches: it loads this file from the folder it is run in."""

import logging

from pyinfra import config

config.REQUIRE_PYINFRA_VERSION = "~=3.10"
config.FAIL_PERCENT = 0  # one failed host stops the run

# What an SSH server says wrong is in pyinfra's own words; paramiko would print a stack trace besides.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
