"""The lab's Debian servers (`make lab-hosts`) as one cluster."""

_ssh = {
    "ssh_hostname": "127.0.0.1",
    "ssh_user": "ops",
    "ssh_key": "~/.cache/ollama-stack/lab-hosts/key",
    "ssh_known_hosts_file": "~/.cache/ollama-stack/lab-hosts/known_hosts",
    "ssh_strict_host_key_checking": "yes",
}

# One CPU each: they share this machine's, and threads beyond them collapse.
low = [
    ("host-3", {**_ssh, "ssh_port": 2303}),
    ("host-2", {**_ssh, "ssh_port": 2302}),
    ("host-1", {**_ssh, "ssh_port": 2301}),
]
