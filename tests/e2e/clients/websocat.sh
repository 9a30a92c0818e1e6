#!/bin/sh
# Follows a channel with websocat: `websocat.sh ws://HOST:8080/live CHANNEL [CURSOR]`, and prints what the node sends, word for word.
# A message is a line of JSON, in both directions. With CURSOR, the place that one has reached, what was missed comes first.
set -eu
since=${3:+",\"since\":\"$3\""}
# --no-close: the end of our words is no goodbye, we stay to listen.
echo "{\"type\":\"subscribe\",\"channel\":\"$2\"$since}" | websocat --no-close --text "$1"
