package runtime

import (
	"testing"

	"hoy/lib/fault"
)

// TestLabelsWithoutTheirModule are refused, as they would have no effect.
func TestLabelsWithoutTheirModule(t *testing.T) {
	for _, tc := range []struct {
		apparmor, selinux, want string
		has                     security
	}{
		{"", "", "", security{}},
		{"unconfined", "", "", security{}},
		{"docker-default", "", `cannot apply AppArmor profile "docker-default": AppArmor is not enabled in this kernel`, security{selinux: true}},
		{"", "system_u:object_r:t:s0", `cannot apply SELinux label "system_u:object_r:t:s0": SELinux is not enabled in this kernel`, security{apparmor: true}},
		{"docker-default", "", "", security{apparmor: true}},
		{"", "system_u:object_r:t:s0", "", security{selinux: true}},
	} {
		p := defaultSpec().Process
		p.ApparmorProfile, p.SelinuxLabel = tc.apparmor, tc.selinux
		err := tc.has.check(p)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%+v: %v", tc, err)
		case tc.want != "" && (err == nil || err.Error() != tc.want || fault.KindOf(err) != fault.Invalid):
			t.Errorf("%+v: got %v", tc, err)
		}
	}
}

// TestPlanWithLabels pretends that the kernel has both modules: a container and an exec
// get their labels from the host's procfs, before they see another one.
func TestPlanWithLabels(t *testing.T) {
	b := newBox(t, false)
	goldenSpec(b)
	r := b.start("hold")
	defer r.kill()
	b.rt.security = security{apparmor: true, selinux: true}
	b.spec.Process.ApparmorProfile, b.spec.Process.SelinuxLabel = "docker-default", "system_u:system_r:container_t:s0:c1,c2"
	golden(t, "labels.txt", b.plan())
	p, err := r.exec(nil, "ids")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	golden(t, "labels-exec.txt", dump(p.Plan))
}

// TestAppArmor asks the kernel for profiles, where it has any.
func TestAppArmor(t *testing.T) {
	b := newBox(t, false)
	b.spec.Process.ApparmorProfile = unconfined
	b.expect("0 0 []", "ids")
	b.spec.Process.ApparmorProfile = "hoy-no-such-profile"
	want := `cannot apply AppArmor profile "hoy-no-such-profile": AppArmor is not enabled in this kernel`
	if b.rt.security.apparmor {
		want = "cannot set AppArmor profile: write: no such file or directory"
	}
	b.fails(want, "ids")
}

// TestUnconfinedIsNotInherited shows that "unconfined" is asked for where the engine
// itself may be confined, and nothing where there is no AppArmor.
func TestUnconfinedIsNotInherited(t *testing.T) {
	b := newBox(t, false)
	goldenSpec(b)
	b.spec.Process.ApparmorProfile = unconfined
	without := b.plan()
	b.rt.security = security{apparmor: true}
	if with := b.plan(); with == without {
		t.Errorf("the plan is the same with AppArmor:\n%s", with)
	}
}
