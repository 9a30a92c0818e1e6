#!/usr/bin/env bash
# Follows a channel with curl by long polls: `curl_poll.sh http://HOST:8080 CHANNEL [CURSOR]`, and prints each answer as a line.
# Every answer says in `cursors` the place that it leads to. The node holds a request until there is something behind that
# place, for WAIT seconds at most.
set -u
WAIT=25
cursor=${3:-}
while :; do
  if answer=$(curl --silent --fail "$1/poll?channel=$2&wait=$WAIT${cursor:+&since=$cursor}"); then
    printf '%s\n' "$answer"
    cursor=$(sed 's/.*"cursors":{"[^"]*":"\([^"]*\)"}}$/\1/' <<< "$answer")
  else
    sleep $((1 + RANDOM % 5))
  fi
done
