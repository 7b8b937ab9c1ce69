package migrate

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// taker is an engine that takes everything.
type taker struct{ dir string }

func (taker) Load(_ context.Context, archive io.Reader) error {
	_, err := io.Copy(io.Discard, archive)
	return err
}
func (taker) Image(_ context.Context, name, _ string) (string, error) { return name, nil }
func (k taker) Volume(_ context.Context, _ Volume, fill func(*os.File) error) error {
	dir, err := os.Open(k.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return fill(dir)
}
func (k taker) Container(context.Context, Container) (string, func(error) error, error) {
	return k.dir, func(err error) error { return err }, nil
}

// noImages is a store with writable layers alone.
type noImages struct{ upper string }

func (noImages) list() (map[string]string, error)                     { return nil, nil }
func (noImages) archive(io.Writer, map[string]string, []string) error { return nil }
func (n noImages) layer(string) (string, error)                       { return n.upper, nil }

// TestDamaged: a record that was lost, as by a loss of power, keeps back what it is of and
// nothing else.
func TestDamaged(t *testing.T) {
	f := fakeStore{t, t.TempDir()}
	for name, text := range map[string]string{
		"containers/aaaa/config.v2.json":  `{"ID":"aaaa","Name":"/good","Config":{"Image":"i"}}`,
		"containers/aaaa/hostconfig.json": `{}`,
		"containers/bbbb/config.v2.json":  ``,
		"containers/bbbb/hostconfig.json": `{}`,
		"containers/cccc/config.v2.json":  `{"ID":"cccc","Name":"/torn","Config":{"Image":"i"}}`,
		"containers/cccc/hostconfig.json": `{"Memory":`,
		"containers/dddd/config.v2.json":  `{"ID":"dddd","Name":"/bare","Config":{"Image":"i"}}`,
		"volumes/whole/_data/f":           `x`,
		"volumes/torn/_data/f":            `x`,
		"volumes/torn/opts.json":          `{`,
	} {
		f.write(name, []byte(text))
	}
	var told []string
	err := Take(t.Context(), &Source{f.root, noImages{t.TempDir()}}, taker{t.TempDir()}, func(line string) {
		line, _, _ = strings.Cut(line, ": cannot")
		told = append(told, strings.ReplaceAll(line, f.root+string(filepath.Separator), ""))
	})
	slices.Sort(told)
	want := []string{
		"container bare: taken over", "container bbbb: not taken over", "container cccc: not taken over", "container good: taken over",
		"volume torn: not taken over", "volume whole: taken over",
	}
	if !slices.Equal(told, want) || err == nil || !strings.Contains(err.Error(), "3 things") {
		t.Errorf("%q, %v", told, err)
	}
}
