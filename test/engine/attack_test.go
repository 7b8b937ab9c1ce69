package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hoy/test/rootful"
)

// TestAttackOnExec has an attacker with CAP_SYS_PTRACE in the container, and one in a
// container that shares its PID namespace, while processes are exec'ed into it. What
// they catch on its way in must already be as confined as the container is, and must
// carry nothing of the keeper's memory and descriptors (CVE-2016-9962, CVE-2019-5736).
func TestAttackOnExec(t *testing.T) {
	rootful.Check(t)
	bin := filepath.Join(t.TempDir(), "attacker")
	c := exec.Command("go", "build", "-o", bin, "./test/attacker")
	c.Dir, c.Env = Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const secret = "HOY_TEST_SECRET_3141592653"
	e := Start(t)
	e.endGently()
	e.Setenv("HOY_TEST_SECRET=" + secret) // in the memory of engine and keeper from now on
	e.Eventually("the old keeper's end", func() bool { return e.KeeperPid() == 0 })
	e.Up()
	e.ImportBusybox()
	end := filepath.Join(e.Dir, "end")
	attacker := []string{"run", "-d", "--cap-add", "SYS_PTRACE", "-v", e.Dir + ":/e:ro", "-v", bin + ":/attacker:ro"}
	e.Hoy(append(attacker, "--name", "inside", "busybox", "/attacker", secret[4:], "/e/end")...)
	e.Hoy("run", "-d", "--name", "victim", "busybox", "sleep", "1000")
	e.Hoy(append(attacker, "--name", "beside", "--pid", "container:victim", "busybox", "/attacker", secret[4:], "/e/end", "beside")...)
	for _, name := range []string{"inside", "beside"} {
		e.Eventually(name+" watches", func() bool { return strings.Contains(e.Try("logs", name).Stdout, "watching") })
	}
	parallel(200, 4, func(i int) {
		name := []string{"inside", "victim"}[i%2]
		r := e.Try("exec", name, "/bin/true")
		// The attacker also scribbles over what the child reports: then it has failed.
		if r.Code != 0 && !strings.Contains(r.Stdout+r.Stderr, "input/output error") {
			t.Errorf("exec: %+v", r)
		}
	})
	writeFile(t, end, nil)
	for _, name := range []string{"inside", "beside"} {
		e.Hoy("wait", name)
		out := e.Hoy("logs", name)
		if strings.Contains(out, "leak") || !strings.Contains(out, "caught") {
			t.Errorf("%s: %s", name, tail(out))
		}
		t.Logf("%s: %s", name, out[strings.LastIndex(out, "\n")+1:])
	}
}
