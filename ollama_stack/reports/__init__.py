"""Reports for people and machines: plan, status, audit."""
