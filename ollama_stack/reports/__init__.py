"""What people and machines are told: plan, status, audit."""
