// Command distribution runs the conformance tests of OCI's distribution specification
// against hoy-registry, and compares what came of them with what is expected.
//
//	go run ./test/suites/distribution             (make conformance)
//
// expected.txt holds the tests that fail, each with its reason: distribution's registry,
// which hoy-registry runs, does not do what they ask for. Every other outcome, better or
// worse, is an error.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// module is where the tests come from. It is not among the project's own.
const module = "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111"

// patience is how long the tests may take, which takes them ten seconds.
const patience = 5 * time.Minute

func main() {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/tmp"
	}
	dir := flag.String("cache", filepath.Join(cache, "hoy-suite-distribution"), "`directory` that keeps the built tests and their report")
	registry := flag.String("registry", "bin/hoy-registry", "`program` to test")
	flag.Parse()
	if err := run(*dir, *registry); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir, registry string) error {
	want, err := readExpected(filepath.Join("test", "suites", "distribution", "expected.txt"))
	if err != nil {
		return err
	}
	program, err := build(dir)
	if err != nil {
		return err
	}
	data, err := os.MkdirTemp("", "hoy-conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	address, stop, err := start(registry, data)
	if err != nil {
		return err
	}
	out, failure := test(program, dir, address)
	if err := stop(); err != nil {
		return err
	}
	got, err := readReport(filepath.Join(dir, "results", "junit.xml"))
	if err != nil {
		return fmt.Errorf("the tests left no report: %w\n%v\n%s", err, failure, out)
	}
	return got.compare(want)
}

// build makes the tests' program, where that is not done.
func build(dir string) (string, error) {
	program := filepath.Join(dir, filepath.Base(module), "conformance")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	out, err := exec.Command("go", "mod", "download", "-json", module).Output()
	if err != nil {
		return "", fmt.Errorf("cannot download %s: %w\n%s", module, err, out)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return "", err
	}
	c := exec.Command("go", "build", "-trimpath", "-o", program, ".")
	c.Dir = m.Dir
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the tests: %w\n%s", err, out)
	}
	return program, nil
}

// start runs the registry on a port that is free, and returns how to end it, which it
// must do by itself.
func start(program, data string) (address string, stop func() error, err error) {
	c := exec.Command(program, "--listen", "127.0.0.1:0", "--data", data, "--delete")
	said, err := c.StderrPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		return "", nil, fmt.Errorf("cannot start the registry: %w", err)
	}
	r := bufio.NewReader(said)
	line, _ := r.ReadString('\n')
	m := regexp.MustCompile(`listening on http://(\S+),`).FindStringSubmatch(line)
	if m == nil {
		c.Process.Kill()
		return "", nil, fmt.Errorf("the registry does not start: %s %w", line, c.Wait())
	}
	return m[1], func() error {
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			return fmt.Errorf("the registry has ended: %w", errors.Join(err, c.Wait()))
		}
		rest, _ := io.ReadAll(r)
		if err := c.Wait(); err != nil {
			return fmt.Errorf("the registry did not end cleanly: %w\n%s", err, rest)
		}
		return nil
	}, nil
}

// test runs the tests, whose exit code says that some failed.
func test(program, dir, address string) (out []byte, err error) {
	c := exec.Command(program)
	c.Dir = dir
	c.Env = append(os.Environ(), "OCI_REGISTRY="+address, "OCI_TLS=disabled", "OCI_REPO1=conformance/one", "OCI_REPO2=conformance/two", "OCI_RESULTS_DIR="+filepath.Join(dir, "results"))
	if err := os.RemoveAll(filepath.Join(dir, "results")); err != nil {
		return nil, err
	}
	t := time.AfterFunc(patience, func() { c.Process.Kill() })
	defer t.Stop()
	return c.CombinedOutput()
}
