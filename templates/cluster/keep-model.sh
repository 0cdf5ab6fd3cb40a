# In a container of its own beside a host's Ollama, whose volume it has: have $MODEL there as tuned (Modelfile in
# $MODELFILE), and $PRISTINE as pulled from $SOURCE; $DIGEST, if any, is the only one that is taken.
set -eu
export OLLAMA_NOPRUNE=1 OLLAMA_HOST=127.0.0.1:11434 # what the other one is pulling is not for this one to remove
/bin/ollama serve >/tmp/log 2>&1 &
until ollama list >/dev/null 2>&1; do sleep 0.2; done
if ! ollama show "$PRISTINE" >/dev/null 2>&1; then
    for attempt in 1 2 3; do
        if ollama pull $INSECURE "$SOURCE" </dev/null >/tmp/pull 2>&1; then break; fi
        test "$attempt" != 3 || { tail -c 300 /tmp/pull >&2; exit 1; }
        sleep "$((attempt * 5))"
    done
    ollama cp "${SOURCE#http://}" "$PRISTINE" >/dev/null
    test "${SOURCE#http://}" = "$MODEL" || ollama rm "${SOURCE#http://}" >/dev/null
fi
has=$(sha256sum "/root/.ollama/models/$MANIFEST" | cut -d' ' -f1)
test -z "$DIGEST" || test "$DIGEST" = "$has" || {
    ollama rm "$PRISTINE" >/dev/null
    echo "model_digest: $SOURCE came as $has, declared $DIGEST" >&2
    exit 1
}
printf '%s\n' "$MODELFILE" >/tmp/Modelfile
ollama create "$MODEL" -f /tmp/Modelfile >/tmp/log 2>&1 || { tail -n 3 /tmp/log >&2; exit 1; }
