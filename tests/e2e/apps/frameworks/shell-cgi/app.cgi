#!/bin/bash

urldecode() {
    local text=${1//+/ }
    printf '%b' "${text//%/\\x}"
}

# The value of a name in the query.
parameter() {
    local pair
    while IFS= read -r -d '&' pair; do
        if [ "${pair%%=*}" = "$1" ]; then
            urldecode "${pair#*=}"
        fi
    done <<<"$QUERY_STRING&"
}

head() {
    printf 'Content-Type: %s\n' "$@"
    echo
}

text() {
    head 'text/plain; charset=utf-8'
}

case "$REQUEST_METHOD $PATH_INFO" in
'GET /' | 'HEAD /')
    head text/html
    echo '<!doctype html><title>Hello</title><h1>Hello</h1>'
    ;;
'GET /greet')
    text
    echo "Hello $(parameter name)"
    ;;
'GET /path/'*'/x')
    text
    segment=${PATH_INFO#/path/}
    echo "${segment%/x}"
    ;;
'POST /echo')
    head "$CONTENT_TYPE"
    cat
    ;;
'PUT /method' | 'DELETE /method' | 'PATCH /method')
    text
    echo "$REQUEST_METHOD"
    ;;
'GET /download' | 'HEAD /download')
    echo 'Content-Disposition: attachment; filename="numbers.bin"'
    echo 'Content-Length: 1048576'
    head application/octet-stream
    LC_ALL=C awk 'BEGIN { for (i = 0; i < 1048576; i++) printf "%c", i * 7 % 256 }'
    ;;
'GET /stream')
    text
    echo 'line 1'
    for number in 2 3 4 5; do
        sleep 0.1
        echo "line $number"
    done
    ;;
'GET /events')
    head text/event-stream
    for number in 1 2 3; do
        printf 'id: %s\ndata: event %s\n\n' $number $number
    done
    ;;
'GET /cookie')
    printf 'Set-Cookie: a=1; Path=/\nSet-Cookie: b=2; Path=/\n'
    text
    echo 'two cookies'
    ;;
'GET /about')
    head application/json
    printf '{"scheme": "%s", "host": "%s", "client": "%s", "path": "%s", "query": "%s", "userAgent": "%s"}\n' \
        "$REQUEST_SCHEME" "$SERVER_NAME" "$REMOTE_ADDR" "$PATH_INFO" "$QUERY_STRING" "$HTTP_USER_AGENT"
    ;;
'GET /error')
    echo 'a mistake made on purpose' >&2
    exit 1
    ;;
'GET /who')
    text
    echo $$
    ;;
'GET '* | 'HEAD '*)
    echo 'Status: 404 Not Found'
    text
    echo 'there is no such page'
    ;;
*)
    echo 'Status: 405 Method Not Allowed'
    text
    echo 'not like this'
    ;;
esac
