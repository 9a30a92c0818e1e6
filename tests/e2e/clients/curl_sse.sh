#!/usr/bin/env bash
# Follows a channel with curl over server-sent events: `curl_sse.sh http://HOST:8080 CHANNEL [CURSOR]`, and prints each message as
# a line. When the connection ends it comes back with the last id, which is the place that it has reached.
set -u
cursor=${3:-}
retry_ms=1000
while :; do
  id=$cursor data=
  while IFS= read -r line; do
    case $line in
      'id: '*)    id=${line#id: } ;;
      'data: '*)  data=${line#data: } ;;
      'retry: '*) retry_ms=${line#retry: } ;;
      # The end of an event: what was cut before it does not count, its id neither.
      '')         [ -z "$data" ] || printf '%s\n' "$data"
                  cursor=$id data= ;;
    esac
  done < <(curl --silent --no-buffer ${cursor:+--header "Last-Event-ID: $cursor"} "$1/events?channel=$2")
  sleep "$((retry_ms / 1000)).$(printf %03d $((retry_ms % 1000)))"
done
