package mount

import "testing"

func TestParseSite(t *testing.T) {
	for line, want := range map[string]Site{
		`36 35 98:0 / / rw,noatime - ext3 /dev/root rw`:                        {Point: "/"},
		`36 35 98:0 /a /b\040c rw shared:1 - tmpfs x rw`:                       {Point: "/b c", Shared: true},
		`36 35 98:0 / /m rw master:2 propagate_from:3 - tmpfs shared:9 rw`:     {Point: "/m", Slave: true},
		`36 35 98:0 / /m rw shared:4 master:2 - tmpfs none rw,errors=continue`: {Point: "/m", Shared: true, Slave: true},
		`36 35 98:0 / /m rw unbindable - tmpfs - rw`:                           {Point: "/m"},
	} {
		if got, ok := parseSite(line, "36"); !ok || got != want {
			t.Errorf("%s: %+v, %t; want %+v", line, got, ok, want)
		}
		if _, ok := parseSite(line, "3"); ok {
			t.Errorf("%s is taken for mount 3", line)
		}
	}
	if p, err := SiteOf("/proc/self"); err != nil || p.Point != "/proc" {
		t.Errorf("/proc: %+v, %v", p, err)
	}
}
