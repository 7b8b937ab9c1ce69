#!/bin/sh
# After installing or upgrading: deb calls it with configure [VERSION BEFORE], which is
# there also when the package was removed but not purged; rpm with 1 or 2.
set -e
if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers /usr/lib/sysusers.d/hoy.conf
elif ! getent group hoy >/dev/null; then
	groupadd --system hoy
fi
command -v systemctl >/dev/null 2>&1 || exit 0
case "$1 $2" in
"configure " | "1 "*) systemctl enable hoy.socket hoy.service >/dev/null 2>&1 || : ;;
esac
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if systemctl -q is-enabled hoy.socket; then
	systemctl start hoy.socket # the engine starts with its first client
fi
# The containers run on meanwhile: the new engine takes over from their keeper.
systemctl try-restart hoy.service
