// Package failpoint breaks the program at named places on request, so that tests
// can show what is left behind when it fails, or is killed, exactly there.
//
// HOY_FAILPOINT=name=error makes Hit(name) return an error, name=kill makes it end
// the process with SIGKILL; name@object=error does so for one object only. Several are
// separated by commas. HOY_FAILPOINT_TRACE names a file to which every point reached is
// appended, a line each.
package failpoint

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Point is the name of a place. They are listed in points.go, so that a test can
// enumerate them and fail when one is never reached.
type Point string

// plan is read once at start and never changed.
var plan, trace = parse(os.Getenv("HOY_FAILPOINT")), os.Getenv("HOY_FAILPOINT_TRACE")

func parse(s string) map[Point]string {
	if s == "" {
		return nil
	}
	m := map[Point]string{}
	for _, e := range strings.Split(s, ",") {
		name, mode, _ := strings.Cut(e, "=")
		m[Point(name)] = mode
	}
	return m
}

// Hit is called at the place p, which is about the objects. It returns nil unless the
// environment asks otherwise.
func Hit(p Point, objects ...string) error {
	if plan == nil && trace == "" {
		return nil
	}
	if trace != "" {
		if f, err := os.OpenFile(trace, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err == nil {
			fmt.Fprintln(f, p)
			f.Close()
		}
	}
	mode := plan[p]
	for _, o := range objects {
		mode = cmp.Or(mode, plan[p+Point("@"+o)])
	}
	switch mode {
	case "error":
		return fmt.Errorf("failpoint %s", p)
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return nil
}
