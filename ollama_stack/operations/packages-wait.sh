# Wait until no other program changes this host's packages, $1 seconds at most; say for whom.
set -u
patience=$1

now() { cut -d. -f1 /proc/uptime; } # seconds, whatever is done to the clock

has() { # process $1 file $2 open
    for each in "/proc/$1/fd"/*; do [ "$each" -ef "$2" ] && return; done
    return 1
}

holder() { # of a lock of dpkg's or apt's, by the kernel's own table; fails if there is none
    for file in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock \
        /var/cache/apt/archives/lock; do
        inode=$(stat -c %i "$file" 2>/dev/null) || continue
        pids=$(awk -v inode="$inode" '$2 == "POSIX" && $6 ~ ":" inode "$" {print $5}' /proc/locks)
        for pid in $pids; do
            has "$pid" "$file" || continue # of another file system, by the same number
            echo "$(cat "/proc/$pid/comm" 2>/dev/null || echo 'another program') (process $pid)"
            return
        done
    done
    return 1
}

end=$(($(now) + patience)) reported=''
while who=$(holder); do
    [ "$(now)" -lt "$end" ] || {
        echo "apt: $who has been changing packages for more than $patience s; wait until it is done, or" \
            "find out why it hangs, then run again"
        exit 1
    }
    [ "$who" = "$reported" ] || echo "waiting for $who, which is changing packages"
    reported=$who
    sleep 1
done
