// Command moby runs moby's own integration tests against an engine, in namespaces of
// their own, and compares what came of them with what is expected.
//
//	go run ./test/suites/moby                          hoy (make suite-moby)
//	go run ./test/suites/moby -run 'container/TestExec' some of it; compares only those
//	go run ./test/suites/moby -reference DIR           the reference engine: writes its part of reference.txt
//
// expected.txt holds what fails here although it should not, each with its reason;
// reference.txt what fails and what is skipped on the reference engine on such a
// machine. Every other outcome, better or worse, is an error. Both engines run with
// nftables. The tests are built from a copy of their source, in which what looks at
// dockerd's own matters looks at hoy's if that is tested: the folder changes.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// options are those of the command line.
type options struct {
	reference string         // directory of the reference engine's programs; empty: hoy
	cache     string         // where the tests' programs are kept
	logs      string         // where every test's output goes
	packages  []string       // below moby's integration
	run       *regexp.Regexp // of PACKAGE/TEST
	timeout   time.Duration  // of one test with its subtests
}

func main() {
	var o options
	var packages, run string
	flag.StringVar(&o.reference, "reference", "", "run against the reference engine whose programs are in `directory`, and write down the results")
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/tmp"
	}
	flag.StringVar(&o.cache, "cache", filepath.Join(cache, "hoy-suite-moby"), "`directory` that keeps the built tests, and their output in logs; not below /tmp")
	flag.StringVar(&packages, "packages", "volume,system,image,build,container,network,network/bridge,network/macvlan,network/ipvlan,networking", "packages below moby's integration")
	flag.StringVar(&run, "run", "", "run only those whose PACKAGE/TEST matches `regexp`")
	flag.DurationVar(&o.timeout, "timeout", 10*time.Minute, "of one test with its subtests")
	flag.Parse()
	o.logs = filepath.Join(o.cache, "logs", "hoy")
	if o.reference != "" {
		o.logs = filepath.Join(o.cache, "logs", "reference")
	}
	o.packages = strings.Split(packages, ",")
	o.run = regexp.MustCompile(run)
	if err := o.main(run == ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (o *options) main(whole bool) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("moby's tests need root: use make suite-moby")
	}
	if !inside() {
		if err := o.build(); err != nil {
			return err
		}
		return enter()
	}
	got, err := o.tests()
	if err != nil {
		return err
	}
	here := filepath.Join("test", "suites", "moby")
	if o.reference != "" {
		if !whole {
			return got.show(os.Stdout)
		}
		return got.record(filepath.Join(here, "reference.txt"), o.packages)
	}
	want, err := readExpected(filepath.Join(here, "reference.txt"), filepath.Join(here, "expected.txt"))
	if err != nil {
		return err
	}
	return want.compare(got, o.packages, whole)
}
