package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// results are outcomes (pass, fail, skip) by PACKAGE/TEST[/SUBTEST].
type results map[string]string

type result struct{ test, outcome string }

var (
	started = regexp.MustCompile(`(?m)^=== RUN\s+(\S+)`)
	ended   = regexp.MustCompile(`(?m)^\s*--- (PASS|FAIL|SKIP): (\S+)`)
)

// parse reads what a test program printed with -test.v. A test that began and has no
// outcome has failed. Where a subtest failed, the test around it does not count.
func parse(p, out string) (l []result) {
	outcomes := map[string]string{}
	for _, m := range started.FindAllStringSubmatch(out, -1) {
		outcomes[m[1]] = "fail"
	}
	for _, m := range ended.FindAllStringSubmatch(out, -1) {
		outcomes[m[2]] = strings.ToLower(m[1])
	}
	for _, name := range slices.Sorted(maps.Keys(outcomes)) {
		below := func(n string) bool { return strings.HasPrefix(n, name+"/") && outcomes[n] == "fail" }
		if outcomes[name] == "fail" && slices.ContainsFunc(slices.Collect(maps.Keys(outcomes)), below) {
			continue
		}
		l = append(l, result{p + "/" + name, outcomes[name]})
	}
	return l
}

// show writes what did not pass, one test a line.
func (r results) show(w io.Writer) error {
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if r[name] != "pass" {
			if _, err := fmt.Fprintln(w, r[name], name); err != nil {
				return err
			}
		}
	}
	return nil
}

// record writes what did not pass of packages into the file at path, in the place of what
// stands there of them.
func (r results) record(path string, packages []string) error {
	all, err := readResults(path)
	if err != nil {
		return err
	}
	maps.DeleteFunc(all, func(test, _ string) bool { return slices.Contains(packages, packageOf(test)) })
	maps.Copy(all, r)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintf(f, "# What of %s does not pass on the reference engine itself:\n# written by `make suite-moby-reference`.\n", module)
	return all.show(f)
}

// readResults reads what show has written.
func readResults(path string) (results, error) {
	r := results{}
	return r, eachLine(path, func(line string) error {
		outcome, test, ok := strings.Cut(line, " ")
		if !ok || outcome != "fail" && outcome != "skip" {
			return fmt.Errorf("%s: want `fail TEST` or `skip TEST`: %q", path, line)
		}
		r[test] = outcome
		return nil
	})
}

// packageOf is the package of PACKAGE/TEST.
func packageOf(test string) string {
	p, _, _ := strings.Cut(test, "/Test")
	return p
}

// expected is what should come of the tests.
type expected struct {
	reference results           // fail and skip only
	reasons   map[string]string // why hoy's outcome may be another
}

func readExpected(reference, ours string) (*expected, error) {
	r, err := readResults(reference)
	if err != nil {
		return nil, err
	}
	e := &expected{reference: r, reasons: map[string]string{}}
	return e, eachLine(ours, func(line string) error {
		test, reason, ok := strings.Cut(line, ": ")
		if !ok || reason == "" {
			return fmt.Errorf("%s: want `TEST: reason`: %q", ours, line)
		}
		e.reasons[test] = reason
		return nil
	})
}

func eachLine(path string, f func(string) error) error {
	r, err := os.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		if line := strings.TrimSpace(sc.Text()); line != "" && !strings.HasPrefix(line, "#") {
			if err := f(line); err != nil {
				return err
			}
		}
	}
	return sc.Err()
}

// compare says what is not as expected: what fails or is skipped here and passes there,
// what is listed and passes, and, of packages that ran whole, what is listed and did not run.
func (e *expected) compare(got results, packages []string, whole bool) error {
	count := map[string]int{}
	var bad []string
	for _, test := range slices.Sorted(maps.Keys(got)) {
		outcome := got[test]
		count[outcome]++
		_, excused := e.reasons[test]
		switch {
		case outcome == "pass" && excused:
			bad = append(bad, "passes now, take it out of expected.txt: "+test)
		case outcome == "fail" && !excused && e.reference[test] != "fail":
			bad = append(bad, "fails: "+test)
		case outcome == "skip" && !excused && e.reference[test] == "":
			bad = append(bad, "is skipped here only: "+test)
		}
	}
	if whole {
		for _, test := range slices.Sorted(maps.Keys(e.reasons)) {
			if got[test] == "" && slices.Contains(packages, packageOf(test)) {
				bad = append(bad, "is in expected.txt and did not run: "+test)
			}
		}
	}
	fmt.Printf("%d passed, %d failed, %d skipped; %d not as expected\n", count["pass"], count["fail"], count["skip"], len(bad))
	if bad == nil {
		return nil
	}
	return errors.New(strings.Join(bad, "\n"))
}
