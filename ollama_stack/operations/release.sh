# Changes of the service in a folder of this host, and the way back. It goes on when the line is cut.
#   LOCK FOLDER up CREATE GENERATE [SERVICE ...]  run the files as they are, with new SERVICEs
#   LOCK FOLDER keep RECORD CREATE GENERATE       what runs is good: keep it as a release
#   LOCK FOLDER back current|previous|NUMBER      run a kept release
# CREATE tunes the model, GENERATE loads it (bodies of Ollama's API). Seconds, of the environment: QUEUE, as
# long may requests wait; START, a container's start; LOAD, the model's; ANSWER, one word of it; LOOK, a question.
# shellcheck disable=SC2153 # they come by the environment
set -u
umask 022
lock=$1 folder=$2 verb=$3
shift 3
exec 9>>"$lock"
flock 9 # another run takes the lock only after this
cd "$folder" || exit 1
good=$(readlink releases/current)

now() { cut -d. -f1 /proc/uptime; } # seconds, whatever is done to the clock

numbers() { find releases -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | grep -E '^[0-9]+$'; }

# As ollama_stack/compose.py has it: Compose sees our file alone.
of_file() { # FILE
    file=$1
    shift
    env --ignore-environment PATH="$PATH" HOME="${HOME:-/root}" docker compose --env-file /dev/null \
        --file "$file" "$@"
}

compose() { of_file docker-compose.yml --progress plain "$@"; }

# A name without a registry is anybody's on Docker Hub: that app's image is brought here, or not had.
pulled() { # FILE
    app=$(of_file "$1" config --images app 2>/dev/null)
    case ${app%%/*} in
    *.* | *:* | localhost | '') others='' ;;
    *)
        docker image inspect "$app" >/dev/null 2>&1 || {
            echo "app_image: $app is not on this host: build it from app/Dockerfile, then load it here"
            return 1
        }
        others=$(of_file "$1" config --services | grep -vx app)
        ;;
    esac
    # shellcheck disable=SC2086 # words
    of_file "$1" --progress plain pull --quiet --policy missing $others
}

with_gateway() { compose config --services | grep -qx gateway; }

address() { # CONTAINER
    docker inspect --format '{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{end}}' "$1" \
        2>/dev/null | head -n 1
}

ollama() { # SECONDS PATH BODY
    curl -sS --fail-with-body --noproxy '*' --max-time "$1" --data "$3" \
        "http://$(address ollama):11434$2" >/dev/null
}

gateway() { # COMMAND for HAProxy's runtime API
    # shellcheck disable=SC2016 # that bash's own $0
    timeout "$LOOK" docker exec ollama-gateway \
        bash -c 'exec 3<>/dev/tcp/127.0.0.1/8405; echo "$0" >&3; cat <&3' "$1" 2>/dev/null
}

# Requests wait before a server that never answers; those that run have QUEUE seconds to end.
hold() {
    trap go_on EXIT
    trap 'exit 1' HUP INT TERM
    gateway 'set server generations/hold state ready; set server generations/ollama state maint' >/dev/null ||
        return 0
    end=$(($(now) + QUEUE))
    while [ "$(gateway 'show servers conn generations' | awk '$1 ~ /\/ollama$/ {print $7}')" != 0 ]; do
        [ "$(now)" -lt "$end" ] || { echo "answers still run after $QUEUE s and are cut"; break; }
        sleep 0.2
    done
}

go_on() {
    trap - EXIT
    with_gateway || return 0
    for _ in 1 2 3; do
        gateway 'set server generations/ollama state ready; set server generations/hold state maint' >/dev/null &&
            return
        sleep 1
    done
    echo "the gateway was not told to go on; its next start does it: docker restart ollama-gateway"
}

start() { # [SERVICE ...]
    compose up --detach --remove-orphans ${1:+--force-recreate} "$@"
}

healthy() {
    compose up --detach --wait --wait-timeout "$START"
}

restarts() { docker inspect --format '{{.RestartCount}}' ollama 2>/dev/null; }

# Sooner than Docker's own look, whose first one comes after an interval: somebody waits.
answers() {
    before=$(restarts) end=$(($(now) + START))
    while [ "$(now)" -lt "$end" ]; do
        curl -fs --noproxy '*' --max-time "$LOOK" "http://$(address ollama):11434/api/version" >/dev/null && return
        [ "$(restarts)" = "$before" ] || break
        sleep 0.2
    done
    echo "Ollama does not answer"
    false
}

tuned() { # CREATE GENERATE, of a release that knows them
    [ -n "$2" ] || return 0
    from=$(printf '%s' "$1" | sed -n 's/.*"from": "\([^"]*\)".*/\1/p')
    # Ollama would pull what is not there, from upstream.
    if ollama "$LOOK" /api/show "{\"model\": \"$from\"}" 2>/dev/null; then
        ollama "$LOAD" /api/create "$1" || echo "the model could not be tuned anew"
    else
        echo "$from is not there, so the model stays as it is"
    fi
    ollama "$LOAD" /api/generate "$2"
}

answered() { # GENERATE, of a release that knows it
    [ -n "$1" ] || return 0
    ollama "$ANSWER" /api/generate \
        "$(printf '%s' "$1" | sed 's/}$/, "prompt": "hi", "stream": false, "options": {"num_predict": 1}}/')"
}

# The gateway lets its own host through. What is asked there never waits.
passed() {
    with_gateway || return 0
    grep -q 'ssl crt' gateway/haproxy.cfg && scheme=https || scheme=http
    set -- --noproxy '*' --max-time "$LOOK" "$scheme://$(address ollama-gateway):11434/api/version"
    [ ! -f local-token.header ] || set -- --header @local-token.header "$@"
    curl -fsSk "$@" >/dev/null
}

# The app is asked as students ask it; 429 and 503 are a class at work.
asked() { # GENERATE, of a release that knows it
    [ -n "$1" ] && compose config --services | grep -qx app || return 0
    for _ in 1 2 3 4 5; do
        code=$(curl -sS --noproxy '*' --max-time "$ANSWER" --output /dev/null --write-out '%{http_code}' \
            --header 'Content-Type: application/json' --data '{"prompt": "hi", "max_tokens": 1}' \
            "http://$(address ollama-app):8080/api/ask")
        case $code in 200 | 429 | 503) return 0 ;; esac
        sleep 2
    done
    echo "the app does not answer a question (HTTP $code): docker logs --tail 50 ollama-app"
    false
}

loaded() { # VERSION of the configuration
    end=$(($(now) + LOOK))
    while [ "$(now)" -lt "$end" ]; do
        said=$(curl -fsS --noproxy '*' --max-time "$LOOK" "http://$(address ollama-gateway):8404/version" 2>/dev/null)
        [ "$said" = "$1" ] && return
        sleep 0.2
    done
    return 1
}

# A token that was taken away has no request more on the connections that the old worker keeps.
revoked() {
    map=/usr/local/etc/haproxy/tokens.map
    gateway "show map $map" </dev/null | while read -r _ digest _; do
        case $digest in '' | *[!0-9a-f]*) continue ;; esac
        grep -qs "^$digest " gateway/tokens.map || gateway "del map $map $digest" </dev/null >/dev/null
    done
}

# A new worker takes the sockets, the old one ends with its last answer. Where that does not help
# (somebody removed the folder under the container), a restart does.
reload() {
    with_gateway || return 0
    version=$(sed -n "s/.*string '\([^']*\)' if { path \/version }.*/\1/p" gateway/haproxy.cfg)
    said=$(curl -fsS --noproxy '*' --max-time "$LOOK" "http://$(address ollama-gateway):8404/version" 2>/dev/null)
    [ "$said" != "$version" ] || return 0
    revoked
    docker kill --signal USR2 ollama-gateway >/dev/null
    loaded "$version" || { docker restart ollama-gateway >/dev/null && loaded "$version"; } || {
        echo "the gateway did not take its configuration, not even by a restart"
        false
    }
}

same() { # FOLDER: whether what is here is what was kept there
    cmp -s "$1/docker-compose.yml" docker-compose.yml &&
        { [ ! -d "$1/gateway" ] || cmp -s "$1/gateway/haproxy.cfg" gateway/haproxy.cfg; }
}

replaced() { # BY FILE
    cmp -s "$1" "$2" || { cp -p "$1" "$2.new" && sync "$2.new" && mv "$2.new" "$2" && sync .; }
}

# Secrets that are here stay: a token in an old release may have been taken away since.
restored() { # FOLDER
    for file in tls.pem tokens.map json.lua schema.lua checks.lua door.lua haproxy.cfg; do # last what names the others
        [ -f "$1/gateway/$file" ] || continue
        case $file in tls.pem | tokens.map) [ ! -f "gateway/$file" ] || continue ;; esac
        mkdir -p gateway && replaced "$1/gateway/$file" "gateway/$file" || return
    done
    replaced "$1/docker-compose.yml" docker-compose.yml
}

make_current() { # NUMBER
    ln -sfn "$1" releases/next && mv -T releases/next releases/current && sync releases
}

run_release() { # NUMBER; fails if it does not answer
    kept=releases/$1
    load=$(cat "$kept/generate.json")
    pulled "$kept/docker-compose.yml" || return
    hold
    restored "$kept" && start && answers && tuned "$(cat "$kept/create.json")" "$load" && answered "$load"
    ran=$?
    go_on
    [ $ran = 0 ] && reload && healthy && passed && asked "$load" && make_current "$1"
}

# Without a moment of waiting, if the change that failed has not come to the files.
still_runs() { # NUMBER
    load=$(cat "releases/$1/generate.json")
    same "releases/$1" && curl -fs --noproxy '*' --max-time "$LOOK" "http://$(address ollama):11434/api/version" >/dev/null &&
        go_on && tuned "$(cat "releases/$1/create.json")" "$load" && answered "$load" && reload &&
        healthy && passed && asked "$load"
}

return_to_good() {
    timeout "$START" sh -c 'until docker version; do sleep 0.5; done' >/dev/null 2>&1 # it may be what failed
    if [ -z "$good" ]; then
        go_on
        echo "there is no earlier release to return to"
    elif still_runs "$good" || run_release "$good"; then
        echo "returned to release $good, which answers: $(cat "releases/$good/release.json")"
    else
        echo "release $good does not answer either: see docker ps --all, then docker logs of what does not run well"
        false
    fi
}

case $verb in
up)
    create=$1 load=$2
    shift 2
    if pulled docker-compose.yml; then
        case " $* " in *" gateway "*) ;; *" ollama "*) hold ;; esac
        if start "$@" && answers; then
            tuned "$create" "$load" # before who waits; it may still have to be pulled
            go_on
            reload && healthy && passed && exit 0
        fi
        compose logs --no-color --tail 20
    fi
    return_to_good
    exit 1
    ;;
keep)
    set -e
    number=$(($(numbers | sort -n | tail -n 1) + 1))
    rm -rf releases/new && mkdir -p releases/new
    cp -p docker-compose.yml releases/new/
    of_file releases/new/docker-compose.yml config --quiet
    [ ! -d gateway ] || cp -pR gateway releases/new/
    printf '%s\n' "$1" >releases/new/release.json
    printf '%s\n' "$2" >releases/new/create.json
    printf '%s\n' "$3" >releases/new/generate.json
    printf '%s\n' "$good" >releases/new/after
    [ -z "$good" ] || diff -ru --exclude=release.json --exclude=changes --exclude=after --exclude=tls.pem \
        --exclude=tokens.map "releases/$good" releases/new >releases/new/changes || [ $? = 1 ]
    sync --file-system releases/new
    mv releases/new "releases/$number"
    make_current "$number"
    numbers | sort -rn | tail -n +6 | while read -r old; do
        rm -rf "releases/$old"
    done
    echo "release $number is kept"
    ;;
back)
    to=$1
    if [ "$to" = current ]; then
        return_to_good
        exit
    fi
    [ "$to" != previous ] || to=$(cat "releases/$good/after" 2>/dev/null)
    case $to in '' | *[!0-9]* | 0*) known='' ;; *) known=$(numbers | grep -x "$to") ;; esac
    if [ -z "$known" ]; then
        echo "there is no release ${to:-to go back to}; kept are:"
        grep -sH . releases/[0-9]*/release.json || echo none
        exit 1
    fi
    if run_release "$to"; then
        echo "release $to answers: $(cat "releases/$to/release.json")"
    else
        compose logs --no-color --tail 20
        return_to_good
        exit 1
    fi
    ;;
esac
