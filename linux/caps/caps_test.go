package caps

import (
	"slices"
	"strings"
	"testing"

	"hoy/lib/fault"
)

func TestDefaultIsDockersSet(t *testing.T) {
	s, err := Parse(Default())
	if err != nil || s != 0xa80425fb {
		t.Fatalf("got %x, %v; want a80425fb", uint64(s), err)
	}
	got := s.Names()
	want := Default()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("Names gives %v back for %v", got, want)
	}
}

func TestTweak(t *testing.T) {
	base := []string{"CAP_CHOWN", "CAP_KILL", "CAP_MKNOD"}
	const held = Set(1<<0 | 1<<5 | 1<<12 | 1<<27 | 1<<34)
	for _, tc := range []struct {
		name       string
		add, drop  string
		privileged bool
		want       string
		fails      string
	}{
		{name: "nothing", want: "CAP_CHOWN CAP_KILL CAP_MKNOD"},
		{name: "add", add: "net_admin", want: "CAP_CHOWN CAP_KILL CAP_MKNOD CAP_NET_ADMIN"},
		{name: "add twice", add: "CAP_SYSLOG syslog", want: "CAP_CHOWN CAP_KILL CAP_MKNOD CAP_SYSLOG"},
		{name: "add what is there", add: "KILL", want: "CAP_CHOWN CAP_KILL CAP_MKNOD"},
		{name: "drop", drop: "Kill", want: "CAP_CHOWN CAP_MKNOD"},
		{name: "drop what is not held", drop: "sys_time", want: "CAP_CHOWN CAP_KILL CAP_MKNOD"},
		{name: "add all", add: "ALL", want: "CAP_CHOWN CAP_KILL CAP_NET_ADMIN CAP_MKNOD CAP_SYSLOG"},
		{name: "add all drop one", add: "all", drop: "CAP_CHOWN", want: "CAP_KILL CAP_NET_ADMIN CAP_MKNOD CAP_SYSLOG"},
		{name: "drop all add one", add: "NET_ADMIN", drop: "ALL", want: "CAP_NET_ADMIN"},
		{name: "drop all", drop: "all", want: ""},
		{name: "drop and add the same", add: "KILL", drop: "KILL", want: "CAP_CHOWN CAP_MKNOD CAP_KILL"},
		{name: "privileged", privileged: true, drop: "ALL", want: "CAP_CHOWN CAP_KILL CAP_NET_ADMIN CAP_MKNOD CAP_SYSLOG"},
		{name: "unknown", add: "CAP_FLY", fails: `unknown capability: "CAP_FLY"`},
		{name: "unknown dropped", drop: "fly", fails: `invalid CapDrop: unknown capability: "CAP_FLY"`},
		{name: "unknown beside privileged", privileged: true, add: "fly", fails: `invalid CapAdd: unknown capability: "CAP_FLY"`},
		{name: "not held", add: "SYS_TIME", fails: "not available in the current environment"},
	} {
		got, err := tweak(base, strings.Fields(tc.add), strings.Fields(tc.drop), tc.privileged, held)
		if tc.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tc.fails) || !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: got %v, %v, want error %q", tc.name, got, err, tc.fails)
			}
		} else if err != nil || strings.Join(got, " ") != tc.want {
			t.Errorf("%s: got %v, %v, want %s", tc.name, got, err, tc.want)
		}
	}
}

func TestParseRefusesUnknown(t *testing.T) {
	if _, err := Parse([]string{"CHOWN"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want an invalid-argument error", err)
	}
}

func TestHeldIsWithinTheKernelsCapabilities(t *testing.T) {
	held, err := Held()
	if err != nil {
		t.Fatal(err)
	}
	last, err := Last()
	if err != nil {
		t.Fatal(err)
	}
	if held>>(last+1) != 0 {
		t.Errorf("holds %x, the kernel's last capability is %d", uint64(held), last)
	}
}
