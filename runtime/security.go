package runtime

import (
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/spawn"
)

// security is what the kernel has of security modules that take labels.
type security struct{ apparmor, selinux bool }

// findSecurity looks for the modules as their own libraries do.
func findSecurity() security {
	var s security
	if b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled"); err == nil {
		s.apparmor = strings.HasPrefix(string(b), "Y")
	}
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		s.selinux = true
	}
	return s
}

// check refuses a label that would have no effect.
func (s security) check(p *specs.Process) error {
	if p.ApparmorProfile != "" && p.ApparmorProfile != unconfined && !s.apparmor {
		return fault.New(fault.Invalid, "cannot apply AppArmor profile %q: AppArmor is not enabled in this kernel", p.ApparmorProfile)
	}
	if p.SelinuxLabel != "" && !s.selinux {
		return fault.New(fault.Invalid, "cannot apply SELinux label %q: SELinux is not enabled in this kernel", p.SelinuxLabel)
	}
	return nil
}

const unconfined = "unconfined"

// labels asks the security modules for labels at the next exec. It goes through the
// host's procfs, before the root directory changes: the container could have put
// anything else in that place (CVE-2019-16884).
func (p *process) labels(s *spawn.Script) {
	if p.apparmor != "" && p.security.apparmor {
		writeLabel(s, "AppArmor profile", "/proc/thread-self/attr/apparmor/exec", "exec "+p.apparmor)
	}
	if p.selinux != "" {
		writeLabel(s, "SELinux label", "/proc/thread-self/attr/exec", p.selinux)
	}
}

func writeLabel(s *spawn.Script, what, path, label string) {
	f := s.Call("open", what, unix.SYS_OPENAT, atCWD, s.Str(path), spawn.Int(unix.O_WRONLY|unix.O_CLOEXEC)).Result()
	s.Call("set", what, unix.SYS_WRITE, f, s.Str(label), spawn.Int(len(label)))
}
