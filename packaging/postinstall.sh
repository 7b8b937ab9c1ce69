#!/bin/sh
# After installing (deb: configure [OLD]; rpm: 1) or upgrading (deb: configure OLD; rpm: 2).
set -e
if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers /usr/lib/sysusers.d/hoy.conf
elif ! getent group hoy >/dev/null; then
	groupadd --system hoy
fi
case "$1 $2" in
"configure "?* | "2 "*) upgrade=yes ;;
"configure " | "1 "*) upgrade=no ;;
*) exit 0 ;;
esac
command -v systemctl >/dev/null 2>&1 || exit 0
if [ $upgrade = no ]; then
	systemctl enable hoy.socket hoy.service >/dev/null 2>&1 || :
fi
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if [ $upgrade = no ]; then
	systemctl start hoy.socket # the engine starts with its first client
else
	# The containers run on meanwhile: the new engine takes over from their keeper.
	systemctl try-restart hoy.service
fi
