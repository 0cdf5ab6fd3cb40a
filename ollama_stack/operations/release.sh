# Changes of the service in a folder of this host, and the way back. It goes on when the line is cut.
#   LOCK FOLDER up SECONDS CREATE GENERATE [SERVICE ...]  run the files as they are, with new SERVICEs
#   LOCK FOLDER keep RECORD CREATE GENERATE               what runs is good: keep it as a release
#   LOCK FOLDER back SECONDS current|previous|NUMBER      run a kept release
# CREATE tunes the model, GENERATE loads it (bodies of Ollama's API); SECONDS: as long may requests wait.
set -u
lock=$1 folder=$2 verb=$3
shift 3
exec 9>>"$lock"
flock 9 # another run takes the lock only after this
cd "$folder" || exit 1
good=$(readlink releases/current)

numbers() { ls releases 2>/dev/null | grep -E '^[0-9]+$'; }

compose() { docker compose --file docker-compose.yml --progress plain "$@"; }

address() { # CONTAINER
    docker inspect --format '{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{end}}' "$1" \
        2>/dev/null | head -n 1
}

ollama() { # SECONDS PATH BODY
    curl -sS --fail-with-body --noproxy '*' --max-time "$1" --data "$3" \
        "http://$(address ollama):11434$2" >/dev/null
}

gateway() { # COMMAND for HAProxy's runtime API
    docker exec ollama-gateway \
        bash -c 'exec 3<>/dev/tcp/127.0.0.1/8405; echo "$0" >&3; cat <&3' "$1" 2>/dev/null
}

# Requests wait before a server that never answers; those that run have SECONDS to end.
hold() {
    gateway 'set server generations/hold state ready; set server generations/ollama state maint' || return 0
    end=$(($(date +%s) + $1))
    while [ "$(gateway 'show servers conn generations' | awk '$1 ~ /\/ollama$/ {print $7}')" != 0 ]; do
        [ "$(date +%s)" -lt "$end" ] || { echo "answers still run after $1 s and are cut"; break; }
        sleep 0.2
    done
}

go_on() {
    gateway 'set server generations/ollama state ready; set server generations/hold state maint'
}

start() { # [SERVICE ...]
    compose up --detach --remove-orphans ${1:+--force-recreate} "$@"
}

healthy() {
    compose up --detach --wait --wait-timeout 180
}

# Sooner than Docker's own look, whose first one comes after an interval: somebody waits.
answers() {
    for _ in $(seq 900); do
        curl -fs --noproxy '*' --max-time 5 "http://$(address ollama):11434/api/version" >/dev/null && return
        [ "$(docker inspect --format '{{.RestartCount}}' ollama)" = 0 ] || break
        sleep 0.2
    done
    false
}

tuned() { # CREATE GENERATE
    ollama 600 /api/create "$1" || echo "the model could not be tuned anew"
    ollama 900 /api/generate "$2"
}

loaded() { # VERSION of the configuration, within 10 s
    for _ in $(seq 50); do
        said=$(curl -fsS --noproxy '*' --max-time 5 "http://$(address ollama-gateway):8404/version" 2>/dev/null)
        [ "$said" = "$1" ] && return
        sleep 0.2
    done
    return 1
}

# A new worker takes the sockets, the old one ends with its last answer. Where that does not help
# (somebody removed the folder under the container), a restart does.
reload() {
    compose config --services | grep -qx gateway || return 0
    version=$(sed -n "s/.*string '\([^']*\)' if { path \/version }.*/\1/p" gateway/haproxy.cfg)
    said=$(curl -fsS --noproxy '*' --max-time 5 "http://$(address ollama-gateway):8404/version" 2>/dev/null)
    [ "$said" != "$version" ] || return 0
    docker kill --signal USR2 ollama-gateway >/dev/null
    loaded "$version" || { docker restart ollama-gateway >/dev/null && loaded "$version"; } || {
        echo "the gateway did not take its configuration, not even by a restart"
        false
    }
}

run_release() { # NUMBER SECONDS; fails if it does not answer
    from=releases/$1
    load=$(cat "$from/generate.json")
    ask=$(echo "$load" | sed 's/}$/, "prompt": "hi", "stream": false, "options": {"num_predict": 1}}/')
    hold "$2"
    cp -p "$from/docker-compose.yml" docker-compose.yml.new &&
        mv docker-compose.yml.new docker-compose.yml &&
        { [ ! -d "$from/gateway" ] || { mkdir -p gateway && cp -p "$from"/gateway/* gateway/; }; } &&
        start && answers && tuned "$(cat "$from/create.json")" "$load" && ollama 300 /api/generate "$ask"
    ran=$?
    go_on
    [ $ran = 0 ] && reload && healthy && make_current "$1"
}

make_current() { # NUMBER
    ln -sfn "$1" releases/next && mv -T releases/next releases/current
}

return_to_good() { # SECONDS
    if [ -z "$good" ]; then
        go_on
        echo "there is no earlier release to return to"
    elif run_release "$good" "$1"; then
        echo "returned to release $good, which answers: $(cat "releases/$good/release.json")"
    else
        echo "release $good does not answer either: read docker logs ollama and ollama-gateway"
    fi
}

case $verb in
up)
    seconds=$1 create=$2 load=$3
    shift 3
    case " $* " in *" gateway "*) ;; *" ollama "*) hold "$seconds" ;; esac
    if start "$@" && answers; then
        tuned "$create" "$load" # before who waits; it may still have to be pulled
        go_on
        reload && healthy && exit 0
    fi
    compose logs --no-color --tail 20
    return_to_good "$seconds"
    exit 1
    ;;
keep)
    set -e
    number=$(($(numbers | sort -n | tail -n 1) + 1))
    rm -rf releases/new && mkdir -p -m 755 releases && mkdir -m 755 releases/new
    cp -p docker-compose.yml releases/new/
    [ ! -d gateway ] || cp -pR gateway releases/new/
    echo "$1" >releases/new/release.json
    echo "$2" >releases/new/create.json
    echo "$3" >releases/new/generate.json
    [ -z "$good" ] || diff -ru --exclude=release.json --exclude=changes --exclude=tls.pem \
        --exclude=tokens.map "releases/$good" releases/new >releases/changes || [ $? = 1 ]
    [ -z "$good" ] || mv releases/changes releases/new/
    mv releases/new "releases/$number"
    make_current "$number"
    numbers | sort -rn | tail -n +6 | while read -r old; do
        rm -rf "releases/$old"
    done
    echo "release $number is kept"
    ;;
back)
    seconds=$1 to=$2
    [ "$to" != current ] || to=$good
    [ "$to" != previous ] || to=$(numbers | sort -rn | awk -v good="${good:-0}" '$1 < good' | head -n 1)
    if [ -z "$to" ] || [ ! -d "releases/$to" ]; then
        echo "there is no release ${to:-to go back to}; kept are:"
        grep -sH . releases/[0-9]*/release.json || echo none
        exit 1
    fi
    if run_release "$to" "$seconds"; then
        echo "release $to answers: $(cat "releases/$to/release.json")"
    else
        compose logs --no-color --tail 20
        [ "$to" = "$good" ] || return_to_good "$seconds"
        exit 1
    fi
    ;;
esac
