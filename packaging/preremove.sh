#!/bin/sh
# Before removing (deb: remove; rpm: 0). An upgrade (deb: upgrade; rpm: 1) stops nothing.
set -e
case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac
[ -d /run/systemd/system ] || exit 0
if systemctl -q is-active hoy.service && [ -n "$(hoy ps -q 2>/dev/null)" ]; then
	echo 'hoy: the containers that run now go on running, without an engine'
fi
systemctl stop hoy.socket hoy.service || :
[ "$1" != 0 ] || systemctl disable hoy.socket hoy.service >/dev/null 2>&1 || :
