package engine

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestCDI gives containers a device that a made-up vendor describes in a file.
func TestCDI(t *testing.T) {
	dir := t.TempDir()
	e := withBusybox(t, "--cdi-spec-dir", dir)
	writeFile(t, filepath.Join(dir, "lib"), []byte("library\n"))
	writeFile(t, filepath.Join(dir, "vendor.yaml"), []byte(`
cdiVersion: 0.6.0
kind: vendor.com/device
devices:
- name: one
  containerEdits:
    env: [WHICH=one]
    deviceNodes: [{path: /dev/vendor/one, hostPath: /dev/fuse, permissions: rw, fileMode: 0o660, gid: 44}]
- name: two
  containerEdits: {env: [WHICH=two]}
- name: hooked
  containerEdits: {hooks: [{hookName: createContainer, path: /bin/sh, args: [sh, `+dir+`/hook], env: [FROM=vendor]}]}
- name: broken
  containerEdits: {hooks: [{hookName: createContainer, path: /bin/sh, args: [sh, -c, "echo the reason >&2; exit 3"]}]}
containerEdits:
  env: [VENDOR=yes]
  mounts: [{hostPath: `+dir+`/lib, containerPath: /usr/lib/vendor, options: [ro, nosuid, nodev, bind]}]
`))
	// A hook gets an OCI state, and in the bundle that names the root with the mounts.
	writeFile(t, filepath.Join(dir, "hook"), []byte(`read state
bundle=${state#*'"bundle":"'}; bundle=${bundle%%'"'*}
grep -q '"root":{"path":"'$bundle/rootfs $bundle/config.json && cat $bundle/rootfs/usr/lib/vendor >$bundle/rootfs/$FROM
`))
	writeFile(t, filepath.Join(dir, "nvidia.json"), []byte(`{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [
		{"name": "0", "containerEdits": {"env": ["GPU=0"]}}, {"name": "all", "containerEdits": {"env": ["GPU=all"]}}]}`))
	e.holds([][3]string{
		{"run --rm --device vendor.com/device=one busybox", "echo $VENDOR $WHICH; stat -c %a:%g /dev/vendor/one; (exec 3<>/dev/vendor/one) && echo opened; cat /usr/lib/vendor; echo x >/usr/lib/vendor",
			"yes one\n660:44\nopened\nlibrary\nsh: can't create /usr/lib/vendor: Read-only file system"},
		{"run --rm --device vendor.com/device=two --user app busybox", "echo $VENDOR $WHICH; ls /dev/vendor", "yes two\nls: /dev/vendor: No such file or directory"},
		{"run --rm --device vendor.com/device=hooked busybox", "cat /vendor", "library"},
		{"run --rm --gpus all busybox", "echo $GPU", "all"},
		{"run --rm --gpus 1 busybox", "echo $GPU", "0"},
	})
	for flags, want := range map[string]string{
		"--device vendor.com/device=three":  "CDI device injection failed: unresolvable CDI devices vendor.com/device=three",
		"--device vendor.com/device=broken": "error running createContainer hook #0: /bin/sh: exit status 3: the reason",
		"--gpus driver=amd":                 `could not select device driver "amd" with capabilities: [[gpu]]`,
	} {
		if r := e.Try(append(append([]string{"run", "--rm"}, strings.Fields(flags)...), "busybox", "true")...); r.Code == 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("%s: %+v, want %s", flags, r, want)
		}
	}
	if got := e.Hoy("info", "-f", "{{range .DiscoveredDevices}}{{.Source}}:{{.ID}} {{end}}{{.CDISpecDirs}}"); got != "cdi:nvidia.com/gpu=0 cdi:nvidia.com/gpu=all cdi:vendor.com/device=broken cdi:vendor.com/device=hooked cdi:vendor.com/device=one cdi:vendor.com/device=two ["+dir+"]" {
		t.Errorf("info: %s", got)
	}
	e.nothingLeft()
}
