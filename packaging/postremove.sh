#!/bin/sh
# After removing. Images, containers and volumes stay in /var/lib/hoy.
set -e
if [ "$1" = purge ]; then
	rm -f /etc/systemd/system/sockets.target.wants/hoy.socket /etc/systemd/system/multi-user.target.wants/hoy.service
fi
[ ! -d /run/systemd/system ] || systemctl daemon-reload || :
