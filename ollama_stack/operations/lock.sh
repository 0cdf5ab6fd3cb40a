# Take the lock file $1 for $2. It is held as long as process $3 lives; without it, this SSH login.
set -eu
lock=$1 who=$2 holder=${3:-}

began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }  # a pid may come again

if [ -z "$holder" ]; then
    holder=$$
    while ! grep -q '^sshd' "/proc/$holder/comm"; do
        holder=$(awk '/^PPid:/ {print $2}' "/proc/$holder/status")
        [ "$holder" -gt 1 ] || {
            echo "lock: this login has no SSH server behind it whose end would give the lock back; come by" \
                "OpenSSH, or run on the host itself (inventories/local.py)" >&2
            exit 1
        }
    done
fi
umask 077 # whoever may open it may hold it
exec 9>>"$lock"
flock --timeout 600 9 || {
    echo "lock: an earlier run's change is still at work here; read /run/ollama-stack.log" >&2
    exit 1
}
pid='' start='' since='' by=''
read -r pid start since by <"$lock" || true
if [ -n "$start" ] && [ "$pid" != "$holder" ] && [ "$(began "$pid")" = "$start" ]; then
    echo "lock: $by has been changing this host since $since; wait for that run to end, or end its" \
        "connection here: kill $pid" >&2
    exit 1
fi
printf '%s\n' "$holder $(began "$holder") $(date -u +%Y-%m-%dT%H:%M:%SZ) $who" >"$lock"
