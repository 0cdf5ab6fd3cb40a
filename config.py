"""pyinfra's own switches: it loads this file from the folder it is run in."""

import logging
import os

from pyinfra import config

config.REQUIRE_PYINFRA_VERSION = "~=3.10"
config.FAIL_PERCENT = 0  # one failed host stops the run
# pyinfra reads UTF-8 alone, and a host's programs may speak Russian in KOI8-R. Not by ENV: its copies lose that.
os.environ["LC_ALL"] = "C.UTF-8"
config.INHERIT_ENV = ("LC_ALL",)

# What an SSH server says wrong is in pyinfra's own words; paramiko would print a stack trace besides.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
