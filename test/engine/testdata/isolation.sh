# Prints what a container sees and may do, a line each: "topic: finding". Needs only
# busybox. Run with the same options on hoy and on the reference engine.
say() { printf '%s: %s\n' "$1" "$2"; }
try() { # topic command...: whether the command succeeds, and what it says if not
	topic=$1; shift
	if out=$("$@" 2>&1); then say "$topic" allowed; else say "$topic" "refused ($(echo "$out" | tail -n 1 | sed 's/.*: //'))"; fi
}
say 'own pid' $$
set -- /proc/[0-9]*
say 'processes' $#
say 'hostname is the short id' "$(hostname | grep -Eqx '[0-9a-f]{12}' && echo yes || echo no)"
say 'links' "$(ls /sys/class/net | tr '\n' ' ')"
say 'user' "$(id)"
say 'directory' "$(pwd)"
say 'umask' "$(umask)"
for f in CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters Groups SigIgn SigBlk ShdPnd; do
	say "status $f" "$(sed -n "s/^$f:[[:space:]]*//p" /proc/self/status)"
done
say 'signals blocked or ignored by process 1' "$(sed -n 's/^Sig\(Blk\|Ign\):[[:space:]]*//p' /proc/1/status | tr '\n' ' ')"
say 'descriptors of process 1' "$(ls /proc/1/fd | sort -n | tr '\n' ' ')"
say 'environment' "$(env | grep -v -e ^SHLVL -e ^_= -e ^PWD= -e ^HOSTNAME= | sort | tr '\n' ' ')"
say 'oom_score_adj' "$(cat /proc/self/oom_score_adj)"
for p in acpi asound interrupts kcore keys latency_stats timer_list timer_stats sched_debug scsi; do
	p=/proc/$p
	if [ ! -e $p ]; then say "masked $p" absent
	elif [ -d $p ]; then say "masked $p" "directory with $(ls $p | wc -l | tr -d ' ') entries"
	else say "masked $p" "file with $(head -c 100 $p 2>/dev/null | wc -c | tr -d ' ') bytes"; fi
done
for p in /sys/firmware /sys/devices/virtual/powercap; do
	[ -d $p ] && say "masked $p" "directory with $(ls $p | wc -l | tr -d ' ') entries" || say "masked $p" absent
done
for p in bus fs irq sys sysrq-trigger; do
	say "read-only /proc/$p" "$(awk -v p=/proc/$p '$2 == p { print substr($4, 1, 2) }' /proc/mounts)"
done
try 'write /proc/sys/kernel/domainname' sh -c 'echo x > /proc/sys/kernel/domainname'
try 'write /proc/sys/net/ipv4/ip_forward' sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
try 'write /proc/sysrq-trigger' sh -c 'echo h > /proc/sysrq-trigger'
try 'write /sys' sh -c 'echo 1 > /sys/kernel/mm/ksm/run'
try 'mount tmpfs' mount -t tmpfs none /tmp
try 'remount /sys writable' mount -o remount,rw /sys
try 'umount /proc/sys' umount /proc/sys
try 'sethostname' hostname other
try 'make block device' mknod /tmp/blk b 8 0
try 'make null device' mknod /tmp/null c 1 3
try 'make kmem device' mknod /tmp/kmem c 1 2
try 'read /dev/kmsg-like device' sh -c 'mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg'
try 'chroot' chroot / true
try 'unshare user namespace' unshare -U true
try 'unshare mount namespace' unshare -m true
try 'set the clock' date -s 2020-01-01
try 'renice' nice -n -5 true
try 'dmesg' dmesg
try 'swapoff' swapoff -a
try 'chown' chown 1:1 /tmp
try 'ping loopback' ping -c 1 -W 1 127.0.0.1
try 'bind port 80' sh -c 'timeout 1 nc -l -p 80 </dev/null; [ $? = 143 ]'
ls -l /dev | awk 'NR > 1 { if ($1 ~ /^[bc]/) print "device " $NF ": " $1 " " $3 ":" $4 " " $5 $6; else if ($1 ~ /^l/) print "device " $(NF-2) ": link to " $NF; else print "device " $NF ": " $1 }' | sort
awk '{ split($4, o, ","); keep = ""; for (i = 1; i in o; i++) if (o[i] ~ /^(ro|rw|nosuid|nodev|noexec|mode=|gid=|ptmxmode=|size=)/) keep = keep " " o[i]; print "mount " $2 ": " $3 keep }' /proc/mounts | sort
ulimit -a | sed 's/  */ /g; s/^/limit /'
say 'shared memory' "$(df -k /dev/shm | awk 'NR == 2 { print $2 " kB" }')"
say 'cgroups seen as' "$(cut -d : -f 3 /proc/self/cgroup | sort -u | tr '\n' ' ')"
say 'root is writable' "$(touch /x && echo yes)"
say 'hosts has own name' "$(grep -c "$(hostname)" /etc/hosts)"
