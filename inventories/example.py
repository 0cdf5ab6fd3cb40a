"""A fleet over SSH, one profile group per host: copy it and put your hosts in."""

low = [("library.school.example", {"ssh_user": "ops"})]
medium = [
    ("class-1.school.example", {"ssh_user": "ops"}),
    ("class-2.school.example", {"ssh_user": "ops", "ssh_port": 2222}),
]
high = [("hall.school.example", {"ssh_user": "ops", "ssh_key": "~/.ssh/id_ed25519"})]
