// Package docker lets docker's own command line drive the engine through scenarios,
// and compares what it shows with transcripts recorded from the reference engine.
//
//	go test ./test/docker                                hoy, compared with the transcripts
//	go test ./test/docker -reference DIR                 records them (make transcripts)
//	go test ./test/docker -run Transcripts/logs          the scenarios of one subject
//
// A scenario is a testscript file, scenarios/SUBJECT/NAME.txtar, that ends with its
// transcript. Its commands, besides testscript's own, are those of words. What it
// makes has names that begin with $C, which is SUBJECT-NAME, and is removed at its end.
// The same scenarios run with hoy's own command line in docker's place.
package docker

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"

	"hoy/test/built"
	"hoy/test/dockerd"
	"hoy/test/engine"
	"hoy/test/rootful"
)

// alone are the subjects whose scenarios change what others would look at: images without
// a name, by builds, and what is pruned.
var alone = []string{"build", "prune"}

// section is the part of a scenario's file that is its transcript.
const section = "transcript"

var reference = flag.String("reference", "", "directory with the programs of the reference engine, to record the transcripts from")

func TestMain(m *testing.M) {
	flag.Parse()
	// Scenarios wait for containers more than they compute.
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		p.Value.Set("6")
	}
	os.Exit(rootful.Main(m))
}

// TestTranscripts runs every scenario against one engine that has the image busybox.
func TestTranscripts(t *testing.T) {
	r := &run{client: built.Docker.Path(t), record: *reference != ""}
	if !r.record {
		r.differ(t, "differences.txt", false)
	}
	r.scenarios(t)
}

// TestCommandLine runs the scenarios with hoy's command line, called docker. It builds by
// BuildKit, whose words are others, so that those of builds are left out.
func TestCommandLine(t *testing.T) {
	if *reference != "" {
		t.Skip("records from docker's own command line")
	}
	client := filepath.Join(t.TempDir(), "docker")
	if err := os.Symlink(engine.Bin(t, "hoy"), client); err != nil {
		t.Fatal(err)
	}
	r := &run{client: client, hoy: true, without: []string{"build"}}
	r.differ(t, "differences.txt", true)
	r.differ(t, "commandline.txt", false)
	r.scenarios(t)
}

// scenarios runs every scenario of every subject.
func (r *run) scenarios(t *testing.T) {
	if r.record {
		rootful.Need(t) // the reference engine leaves things behind, in these namespaces
	} else {
		rootful.Check(t)
	}
	r.host, r.dir = target(t)
	r.prepare(t)
	subjects, err := os.ReadDir("scenarios")
	if err != nil {
		t.Fatal(err)
	}
	distinct(t)
	t.Run("scenarios", func(t *testing.T) {
		for _, s := range subjects {
			if slices.Contains(r.without, s.Name()) {
				continue
			}
			t.Run(s.Name(), func(t *testing.T) {
				if !slices.Contains(alone, s.Name()) {
					t.Parallel()
				}
				testscript.Run(t, testscript.Params{
					Dir: filepath.Join("scenarios", s.Name()), Cmds: words,
					Setup: func(env *testscript.Env) error { return r.setup(t, env, s.Name()) },
				})
			})
		}
	})
	if !t.Failed() && flag.Lookup("test.run").Value.String() == "" {
		for _, d := range r.differences.unused() {
			t.Errorf("a difference that is allowed is none any more: %s", d)
		}
	}
}

// target starts the engine under test and returns its address and directory.
func target(t *testing.T) (host, dir string) {
	if *reference == "" {
		e := engine.Start(t)
		return e.Host, e.Dir
	}
	dir, err := os.MkdirTemp("", "ref")
	if err != nil {
		t.Fatal(err)
	}
	group := fmt.Sprintf("hoy-reference-%d", os.Getpid())
	d, err := dockerd.Start(*reference, dir, "--cgroup-parent", "/"+group)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Log(err)
		}
		dirs, _ := filepath.Glob("/sys/fs/cgroup/*/" + group)
		for _, g := range append(dirs, "/sys/fs/cgroup/"+group) {
			os.Remove(g)
		}
		os.RemoveAll(dir)
	})
	return d.Host, dir
}

// run is one pass over the scenarios.
type run struct {
	host, dir   string   // of the engine
	client      string   // docker's command line, or hoy's
	hoy         bool     // it is hoy's
	without     []string // subjects
	record      bool
	differences *differences
}

// differ reads differences that are allowed, cared if another test holds them.
func (r *run) differ(t *testing.T, file string, cared bool) {
	if r.differences == nil {
		r.differences = &differences{hoy: r.hoy}
	}
	if err := r.differences.read(file, cared); err != nil {
		t.Fatal(err)
	}
}

// prepare gives the engine the image.
func (r *run) prepare(t *testing.T) {
	c := r.command("import", "--change", `CMD ["sh"]`, "--change", "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "-", "busybox")
	c.Stdin = bytes.NewReader(engine.Busybox(t))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("docker import: %v\n%s", err, out)
	}
}

// command returns docker's command line for the engine, not started.
func (r *run) command(args ...string) *exec.Cmd {
	c := exec.Command(r.client, args...)
	c.Env = append(os.Environ(), "DOCKER_HOST="+r.host, "DOCKER_CLI_HINTS=false")
	return c
}

// setup makes the environment of a scenario, and hands its transcript to check when
// the scenario has ended.
func (r *run) setup(t *testing.T, env *testscript.Env, subject string) error {
	name := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
	s := &scenario{run: r, subject: subject, name: name, c: subject + "-" + name, work: env.WorkDir}
	env.Values[key{}] = s
	rootfs := filepath.Join(env.WorkDir, "rootfs.tar")
	if err := os.WriteFile(rootfs, engine.Busybox(t), 0o644); err != nil {
		return err
	}
	env.Vars = append(env.Vars, "DOCKER_HOST="+r.host, "DOCKER_CLI_HINTS=false", "DOCKER_BUILDKIT=0", "TZ=UTC", "C="+s.c, "ROOTFS="+rootfs,
		"PATH="+filepath.Dir(r.client)+":"+os.Getenv("PATH"))
	env.Defer(func() {
		r.clean(s)
		if err := r.check(s); err != nil {
			t.Errorf("%s/%s: %v", subject, name, err)
		}
	})
	return nil
}

// clean removes what the scenario has made.
func (r *run) clean(s *scenario) {
	remove := func(list, rm []string) {
		out, _ := r.command(list...).Output()
		if ids := strings.Fields(string(out)); len(ids) > 0 {
			r.command(append(rm, ids...)...).Run()
		}
	}
	remove([]string{"ps", "-aq", "--filter", "name=^" + s.c}, []string{"rm", "-fv"})
	remove([]string{"volume", "ls", "-q", "--filter", "name=" + s.c}, []string{"volume", "rm"})
	remove([]string{"network", "ls", "-q", "--filter", "name=" + s.c}, []string{"network", "rm"})
	remove([]string{"images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=" + s.c + "*"}, []string{"rmi", "-f"})
}

// check compares the transcript of a scenario with the recorded one, or records it.
func (r *run) check(s *scenario) error {
	file := filepath.Join("scenarios", s.subject, s.name+".txtar")
	a, err := txtar.ParseFile(file)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == section })
	if r.record {
		if i < 0 {
			i = len(a.Files)
			a.Files = append(a.Files, txtar.File{Name: section})
		}
		a.Files[i].Data = []byte(s.transcript())
		return os.WriteFile(file, txtar.Format(a), 0o644)
	}
	if i < 0 {
		return fmt.Errorf("no transcript is recorded: make transcripts")
	}
	return r.differences.compare(s.subject+"/"+s.name, string(a.Files[i].Data), s.transcript())
}

// distinct fails t if a scenario's name is the beginning of another's: filters by name
// would find what belongs to the other.
func distinct(t *testing.T) {
	files, err := filepath.Glob("scenarios/*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = strings.TrimSuffix(files[i], ".txtar")
	}
	slices.Sort(files)
	for i := 1; i < len(files); i++ {
		if strings.HasPrefix(files[i], files[i-1]+"-") {
			t.Errorf("%s begins with the name of another scenario", files[i])
		}
	}
}
