package engine

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestSecurityOptions shows each option that takes or gives rights, by what a process in
// the container may do.
func TestSecurityOptions(t *testing.T) {
	e := withBusybox(t)
	dir := t.TempDir()
	noChmod := writeFile(t, filepath.Join(dir, "nochmod.json"), []byte(`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO"}]}`))
	const (
		status = "grep -E '^(%)' /proc/self/status | tr -d '\\t\\n '"
		chmod  = "chmod 700 /tmp && echo done"
		denied = "chmod: /tmp: Operation not permitted"
		unshar = "unshare -U true && echo done" // docker's profile forbids it
		bar    = "unshare: unshare(0x10000000): Operation not permitted"
	)
	show := func(fields string) string { return strings.ReplaceAll(status, "%", fields) }
	e.holds([][3]string{
		{"run --rm busybox", show("Seccomp|NoNewPrivs"), "NoNewPrivs:0Seccomp:2Seccomp_filters:1"},
		{"run --rm busybox", unshar, bar},
		{"run --rm --security-opt seccomp=builtin busybox", unshar, bar},
		{"run --rm --security-opt seccomp=unconfined busybox", show("Seccomp:"), "Seccomp:0"},
		{"run --rm --security-opt seccomp=unconfined busybox", unshar, "done"},
		{"run --rm --security-opt seccomp=" + noChmod + " busybox", chmod, denied},
		{"run --rm --security-opt no-new-privileges busybox", show("NoNewPrivs"), "NoNewPrivs:1"},
		{"run --rm --security-opt no-new-privileges=false busybox", show("NoNewPrivs"), "NoNewPrivs:0"},
		{"run --rm --cap-drop ALL busybox", show("CapEff|CapBnd"), "CapEff:0000000000000000CapBnd:0000000000000000"},
		{"run --rm --cap-drop ALL --cap-add CHOWN --cap-add net_raw busybox", show("CapEff"), "CapEff:0000000000002001"},
		{"run --rm --cap-drop ALL busybox", "chown 1 /tmp", "chown: /tmp: Operation not permitted"},
		{"run --rm --cap-add ALL busybox", "mkdir /m && mount -t tmpfs x /m && echo done", "done"},
		{"run --rm busybox", "mkdir /m && mount -t tmpfs x /m", "mount: permission denied (are you root?)"},
		{"run --rm --privileged busybox", show("Seccomp:") + "; mkdir /m && mount -t tmpfs x /m && mount -o remount,rw /sys && echo done", "Seccomp:0done"},
		{"run --rm busybox", "chmod 666 /proc/keys 2>&1; echo x >/proc/keys && echo written", "chmod: /proc/keys: Read-only file system\nwritten"}, // it is the machine's /dev/null
		{"run --rm busybox", "head -c1 /proc/keys | wc -c; echo 1 >/proc/sys/kernel/domainname", "0\nsh: can't create /proc/sys/kernel/domainname: Read-only file system"},
		{"run --rm --security-opt systempaths=unconfined busybox", "mount | grep -c 'on /proc/'; echo me >/proc/sys/kernel/domainname && echo done", "0\ndone"},
		{"run --rm busybox", "mkdir " + ownGroup + "/below", "mkdir: can't create directory '" + ownGroup + "/below': Read-only file system"},
		{"run --rm --security-opt writable-cgroups=true busybox", "mkdir " + ownGroup + "/below && echo done", "done"},
		{"run --rm --privileged --security-opt writable-cgroups=false busybox", "mkdir " + ownGroup + "/below", "mkdir: can't create directory '" + ownGroup + "/below': Read-only file system"},
		{"run --rm --umask 077 busybox", "umask; touch /x; stat -c %a /x", "0077\n600"},
		{"run --rm --read-only --tmpfs /w:size=64k,uid=7,mode=711,exec busybox", "stat -c '%u %a' /w; touch /x; mount | grep -c '/w .*noexec'", "7 711\n0\ntouch: /x: Read-only file system"},
		{"run --rm --mount type=tmpfs,target=/w,tmpfs-size=64k,tmpfs-mode=700,ro busybox", "stat -c %a /w; touch /w/x", "700\ntouch: /w/x: Read-only file system"},
		{"run --rm --use-api-socket busybox", "[ -S /var/run/docker.sock ] && echo socket", "socket"},
		{"run --rm --ulimit nofile=99999999:99999999 --ulimit rtprio=0 busybox", "[ $(ulimit -n) -ge 1024 ] && echo clamped", "clamped"},
		{"run --rm --init busybox", "readlink /proc/1/exe", "/sbin/docker-init"},
		{"run --rm --group-add extra --group-add 77 busybox", "id -G", "0 77 2000"},
	})
	if r := e.Try("run", "--rm", "--security-opt", "apparmor=mine", "--security-opt", "label=type:mine", "busybox", "true"); r.Code != 0 ||
		!strings.Contains(r.Stderr, "AppArmor profile mine discarded") || !strings.Contains(r.Stderr, "Label type:mine discarded") {
		t.Errorf("labels of modules that this kernel does not have: %+v", r)
	}
	e.Hoy("create", "--name", "noted", "--annotation", "a.b=c", "--sysctl", "net.core.somaxconn=9", "busybox", "true")
	if got := e.Hoy("inspect", "-f", "{{.HostConfig.Annotations}} {{.HostConfig.Sysctls}}", "noted"); got != "map[a.b:c] map[net.core.somaxconn:9]" {
		t.Errorf("inspect: %s", got)
	}
	e.Hoy("rm", "noted")
	e.refused(map[string]string{
		"--security-opt seccomp=/none":                  "opening seccomp profile (/none) failed",
		"--security-opt colour=blue":                    "invalid --security-opt",
		"--security-opt label=colour:blue":              "bad label option",
		"--cap-add FLY":                                 "invalid CapAdd: unknown capability: \"CAP_FLY\"",
		"--sysctl kernel.panic=1":                       "not in a separate kernel namespace",
		"--sysctl net.ipv4.ip_forward=1 --network host": "not allowed in host network namespace",
		"--ulimit nofile=20:10":                         "ulimit soft limit must be less than or equal to hard limit: 20 > 10",
		"--umask 1000":                                  "is no mask",
		"--memory 1m":                                   "Minimum memory limit allowed is 6MB",
		"--runtime nope":                                "unknown or invalid runtime name: nope",
		"--group-add nogroup":                           "nogroup",
		"--tmpfs /:size=1":                              "destination can't be '/'",
	})
	e.nothingLeft()
}

// ownGroup is where a container sees its own control group.
var ownGroup = map[bool]string{true: "/sys/fs/cgroup", false: "/sys/fs/cgroup/pids"}[IsV2()]
