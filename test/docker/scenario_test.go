package docker

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"

	"hoy/test/eventually"
)

// patience is how long a scenario waits.
const patience = eventually.Patience

// words are the commands of scenarios:
//
//	docker ARG…            runs it; command, output and exit code go into the transcript
//	sh SCRIPT              the same for a shell's script
//	api METHOD PATH [JSON] a request of one's own; status and answer go into the transcript
//	quiet COMMAND ARG…     runs a command that must succeed, outside of the transcript
//	capture VAR COMMAND…   like quiet; its output becomes the variable's value
//	await REGEXP COMMAND…  runs a command until its output matches, outside of the transcript
//	now VAR [SECONDS]      the time, or one so much later, for --since and --until
//	type TEXT              standard input of the next docker; \n, \t, \xNN as in Go
//	answer REGEXP TEXT     what the next tty types when the terminal shows REGEXP (repeatable)
//	tty docker ARG…        docker on a terminal
//	background docker ARG… starts it; finish waits for it and puts it into the transcript
//	enough N               like finish, but ends it when it has shown N lines
var words = map[string]func(*testscript.TestScript, bool, []string){
	"docker":     func(ts *testscript.TestScript, _ bool, args []string) { of(ts).docker(ts, args) },
	"sh":         func(ts *testscript.TestScript, _ bool, args []string) { of(ts).shell(ts, args) },
	"api":        func(ts *testscript.TestScript, _ bool, args []string) { of(ts).api(ts, args) },
	"quiet":      func(ts *testscript.TestScript, _ bool, args []string) { of(ts).must(ts, args) },
	"capture":    func(ts *testscript.TestScript, _ bool, args []string) { ts.Setenv(args[0], of(ts).must(ts, args[1:])) },
	"await":      func(ts *testscript.TestScript, _ bool, args []string) { of(ts).await(ts, args[0], args[1:]) },
	"now":        now,
	"type":       func(ts *testscript.TestScript, _ bool, args []string) { of(ts).input = unquote(ts, args[0]) },
	"answer":     func(ts *testscript.TestScript, _ bool, args []string) { of(ts).answer(ts, args) },
	"tty":        func(ts *testscript.TestScript, _ bool, args []string) { of(ts).tty(ts, args) },
	"background": func(ts *testscript.TestScript, _ bool, args []string) { of(ts).background(ts, args) },
	"enough":     func(ts *testscript.TestScript, _ bool, args []string) { of(ts).enough(ts, args[0]) },
	"finish":     func(ts *testscript.TestScript, _ bool, _ []string) { of(ts).finish(ts) },
}

// key finds the scenario of a running script.
type key struct{}

func of(ts *testscript.TestScript) *scenario { return ts.Value(key{}).(*scenario) }

// scenario is one that runs.
type scenario struct {
	run              *run
	subject, name, c string
	work             string
	steps            []step
	input            string   // of the next docker
	answers          []answer // of the next tty
	behind           *exec.Cmd
	out, errs        *output // of behind
}

// step is a command of the transcript and what came of it.
type step struct {
	command, stdout, stderr string
	code                    int
}

// answer is typed when the terminal shows what the pattern matches.
type answer struct {
	pattern *regexp.Regexp
	text    string
}

// command returns a command in the scenario's environment and directory.
func (s *scenario) command(ts *testscript.TestScript, args []string) *exec.Cmd {
	c := exec.Command(args[0], args[1:]...)
	if args[0] == "docker" {
		c = exec.Command(s.run.client, args[1:]...)
	}
	c.Dir = s.work
	for _, v := range []string{"PATH", "HOME", "DOCKER_HOST", "DOCKER_CLI_HINTS", "DOCKER_BUILDKIT", "TZ", "C", "ROOTFS", "TMPDIR"} {
		c.Env = append(c.Env, v+"="+ts.Getenv(v))
	}
	return c
}

// try runs a command to its end, or to that of our patience.
func try(c *exec.Cmd) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	c.WaitDelay = time.Second
	if err := c.Start(); err != nil {
		return "", err.Error(), -1
	}
	timer := time.AfterFunc(patience, func() { c.Process.Kill() })
	defer timer.Stop()
	c.Wait()
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

func (s *scenario) docker(ts *testscript.TestScript, args []string) {
	c := s.command(ts, append([]string{"docker"}, args...))
	c.Stdin = strings.NewReader(s.input)
	s.input = ""
	s.add(append([]string{"docker"}, args...), c)
}

func (s *scenario) shell(ts *testscript.TestScript, args []string) {
	c := s.command(ts, []string{"sh", "-c", args[0]})
	out, errs, code := try(c)
	s.steps = append(s.steps, step{args[0], out, errs, code})
}

func (s *scenario) add(args []string, c *exec.Cmd) {
	out, errs, code := try(c)
	s.steps = append(s.steps, step{shown(args), out, errs, code})
}

func (s *scenario) must(ts *testscript.TestScript, args []string) string {
	out, errs, code := try(s.command(ts, args))
	if code != 0 {
		ts.Fatalf("%s: exit code %d\n%s%s", shown(args), code, out, errs)
	}
	return strings.TrimSpace(out)
}

func (s *scenario) await(ts *testscript.TestScript, pattern string, args []string) {
	want, err := regexp.Compile(pattern)
	ts.Check(err)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		out, errs, _ := try(s.command(ts, args))
		if want.MatchString(out + errs) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("in vain waited for %q from %s:\n%s%s", pattern, shown(args), out, errs)
		}
	}
}

func now(ts *testscript.TestScript, _ bool, args []string) {
	t := time.Now()
	if len(args) > 1 {
		later, err := time.ParseDuration(args[1] + "s")
		ts.Check(err)
		t = t.Add(later)
	}
	ts.Setenv(args[0], fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()))
}

func (s *scenario) answer(ts *testscript.TestScript, args []string) {
	p, err := regexp.Compile(args[0])
	ts.Check(err)
	s.answers = append(s.answers, answer{p, unquote(ts, args[1])})
}

// tty runs docker on a terminal of 80 columns, typing the answers one after the other.
func (s *scenario) tty(ts *testscript.TestScript, args []string) {
	c := s.command(ts, args)
	terminal, err := pty.StartWithSize(c, &pty.Winsize{Rows: 24, Cols: 80})
	ts.Check(err)
	defer terminal.Close()
	timer := time.AfterFunc(patience, func() { c.Process.Kill() })
	defer timer.Stop()
	var screen bytes.Buffer
	seen := 0
	b := make([]byte, 4096)
	for {
		n, err := terminal.Read(b)
		screen.Write(b[:n])
		if len(s.answers) > 0 {
			if at := s.answers[0].pattern.FindIndex(screen.Bytes()[seen:]); at != nil {
				seen += at[1]
				io.WriteString(terminal, s.answers[0].text)
				s.answers = s.answers[1:]
			}
		}
		if err != nil {
			break // EIO when the command has ended
		}
	}
	c.Wait()
	if len(s.answers) > 0 {
		ts.Fatalf("the terminal never showed %q:\n%s", s.answers[0].pattern, screen.String())
	}
	s.steps = append(s.steps, step{shown(args), strings.ReplaceAll(screen.String(), "\r", ""), "", c.ProcessState.ExitCode()})
}

func (s *scenario) background(ts *testscript.TestScript, args []string) {
	s.behind = s.command(ts, args)
	s.out, s.errs = &output{}, &output{}
	s.behind.Stdout, s.behind.Stderr = s.out, s.errs
	if s.input != "" {
		s.behind.Stdin = strings.NewReader(s.input)
		s.input = ""
	}
	ts.Check(s.behind.Start())
	if !eventually.Is(waiting(s.behind.Process.Pid)) {
		ts.Fatalf("it never waits for the engine: %s", shown(args))
	}
}

func (s *scenario) finish(ts *testscript.TestScript) {
	timer := time.AfterFunc(patience, func() { s.behind.Process.Kill() })
	s.behind.Wait()
	timer.Stop()
	s.steps = append(s.steps, step{shown(append([]string{"docker"}, s.behind.Args[1:]...)), s.out.String(), s.errs.String(), s.behind.ProcessState.ExitCode()})
}

// enough ends the command in the background when it has shown so many lines.
func (s *scenario) enough(ts *testscript.TestScript, lines string) {
	n, err := strconv.Atoi(lines)
	ts.Check(err)
	for deadline := time.Now().Add(patience); strings.Count(s.out.String(), "\n") < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.behind.Process.Kill()
			ts.Fatalf("in vain waited for %d lines:\n%s", n, s.out.String())
		}
	}
	s.behind.Process.Kill()
	s.finish(ts)
	s.steps[len(s.steps)-1].code = 0
}

// output is what a command in the background has shown so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// shown is a command as one would type it.
func shown(args []string) string {
	var l []string
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\n'\"$;|&<>*?{}\\") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		l = append(l, a)
	}
	return strings.Join(l, " ")
}

func unquote(ts *testscript.TestScript, text string) string {
	var b strings.Builder
	for rest := text; rest != ""; {
		if rest[0] != '\\' {
			b.WriteByte(rest[0])
			rest = rest[1:]
			continue
		}
		var n int
		switch {
		case strings.HasPrefix(rest, `\n`):
			b.WriteByte('\n')
		case strings.HasPrefix(rest, `\t`):
			b.WriteByte('\t')
		case strings.HasPrefix(rest, `\x`):
			if _, err := fmt.Sscanf(rest[2:4], "%02x", &n); err != nil {
				ts.Fatalf("bad escape in %q", text)
			}
			b.WriteByte(byte(n))
			rest = rest[2:]
		default:
			ts.Fatalf("bad escape in %q", text)
		}
		rest = rest[2:]
	}
	return b.String()
}

// transcript is what the scenario showed, with what differs from run to run replaced.
func (s *scenario) transcript() string {
	var b strings.Builder
	for _, st := range s.steps {
		b.WriteString("$ " + strings.TrimSpace(st.command) + "\n")
		b.WriteString(prefixed("", st.stdout))
		b.WriteString(prefixed("2> ", st.stderr))
		if st.code != 0 {
			fmt.Fprintf(&b, "[exit %d]\n", st.code)
		}
	}
	n := newNormaliser(map[string]string{s.work: "WORK", s.run.dir: "ENGINE"})
	return n.normal(b.String())
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return prefix + strings.Join(lines, "\n"+prefix) + "\n"
}
