package buildcontext

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// ignore says which files of a folder stay out of the context. Its zero value lets all
// in.
type ignore struct {
	matcher *patternmatcher.PatternMatcher
	// deep: an exception (!…) may be anywhere, so that every folder has to be looked into.
	deep bool
}

// ignoreSuffix is the name of the file that says it, and what that of one Dockerfile ends with.
const ignoreSuffix = ".dockerignore"

// readIgnore reads what says it: NAME.dockerignore beside the Dockerfile, or else
// .dockerignore in the folder.
func readIgnore(root, dockerfile string) (ignore, error) {
	names := []string{filepath.Join(root, ignoreSuffix)}
	if dockerfile != "" {
		names = append([]string{dockerfile + ignoreSuffix}, names...)
	}
	for _, name := range names {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return ignore{}, fmt.Errorf("cannot read which files to leave out: %w", err)
		}
		patterns, err := ignorefile.ReadAll(f)
		f.Close()
		if err == nil {
			var ig ignore
			if ig, err = newIgnore(patterns); err == nil {
				return ig, nil
			}
		}
		return ignore{}, fmt.Errorf("cannot use %s: %w", name, err)
	}
	return ignore{}, nil
}

func newIgnore(patterns []string) (ig ignore, err error) {
	if len(patterns) == 0 {
		return ig, nil
	}
	if ig.matcher, err = patternmatcher.New(patterns); err != nil {
		return ig, err
	}
	for _, p := range ig.matcher.Patterns() {
		ig.deep = ig.deep || p.Exclusion() && strings.ContainsAny(fixed(p), wild)
	}
	return ig, nil
}

// wild are the characters by which a pattern stands for several names.
const wild = `*[]?^\`

// fixed is a pattern without a tail that stands for all below a folder.
func fixed(p *patternmatcher.Pattern) string {
	s := filepath.ToSlash(p.String())
	return strings.TrimSuffix(strings.TrimSuffix(s, "/**"), "/*")
}

// match reports whether a path stays out, knowing what was found of its folder.
func (ig ignore) match(path string, parent patternmatcher.MatchInfo) (bool, patternmatcher.MatchInfo, error) {
	if ig.matcher == nil {
		return false, parent, nil
	}
	return ig.matcher.MatchesUsingParentResults(filepath.FromSlash(path), parent)
}

// mayHold reports whether a folder that stays out may hold what does not.
func (ig ignore) mayHold(folder string) bool {
	if !ig.matcher.Exclusions() {
		return false
	}
	if ig.deep {
		return true
	}
	for _, p := range ig.matcher.Patterns() {
		if p.Exclusion() && strings.HasPrefix(fixed(p)+"/", folder+"/") {
			return true
		}
	}
	return false
}
