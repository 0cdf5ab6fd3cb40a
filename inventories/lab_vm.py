"""The lab's emulated machine (`make vm`): a kernel, systemd and cgroup v2 as schools have them."""

_ssh = {
    "ssh_hostname": "127.0.0.1",
    "ssh_port": 2400,
    "ssh_user": "ops",
    "ssh_key": "~/.cache/ollama-stack/vm/key",
    "ssh_known_hosts_file": "~/.cache/ollama-stack/vm/known_hosts",
    "ssh_strict_host_key_checking": "yes",
}

medium = [("vm", _ssh)]
