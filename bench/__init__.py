"""What attacks, reloads and calm cost others at the gateway, measured on loopback without a lab."""
