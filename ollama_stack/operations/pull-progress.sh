# Reads the stream of Ollama's /api/pull: a line every 4 s (percent, MB/s), and success only if the
# stream's last status says so: the HTTP status is 200 whatever happens.
field() { # field NAME: a number of $line, 0 if it has none
    case $line in *"\"$1\":"*) value=${line#*"\"$1\":"} && echo "${value%%[!0-9]*}" ;; *) echo 0 ;; esac
}
status='' layer='' since=0 before=0
while IFS= read -r line || [ -n "$line" ]; do
    case $line in
    *'"error":'*) status="$line" && continue ;;
    *'"status":"'*) status=${line#*'"status":"'} && status=${status%%\"*} ;;
    esac
    now=$(date +%s)
    if [ "$status" != "$layer" ]; then
        layer=$status since=$now before=$(field completed)
        echo "$status"
    elif [ $((now - since)) -ge 4 ]; then
        done=$(field completed) total=$(field total)
        [ "$total" -gt 0 ] || continue
        rate=$(((done - before) / 100000 / (now - since)))
        echo "$status: $((100 * done / total))% of $((total / 1000000)) MB, $((rate / 10)).$((rate % 10)) MB/s"
        since=$now before=$done
    fi
done
[ "$status" = success ] || { echo "the pull ended with: ${status:-no answer}"; exit 1; }
