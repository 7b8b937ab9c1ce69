package options

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const volumeExample = "write [source:]target[:options], like /srv/www:/www:ro or data:/var/lib/data"

func checkVolume(s string) (string, error) { _, _, err := parseVolume(s, nil); return s, err }

// parseVolume reads --volume. An anonymous volume has only a target; otherwise bind
// is what the engine takes, with a relative source (./x) made absolute by abs.
func parseVolume(s string, abs func(string) (string, error)) (target, bind string, err error) {
	source, rest, hasSource := cutSource(s)
	if !hasSource {
		if !path.IsAbs(s) || path.Clean(s) == "/" {
			return "", "", fmt.Errorf("invalid volume specification: %q: the target must be an absolute path other than /: %s", s, volumeExample)
		}
		return s, "", nil
	}
	target, opts, hasOpts := strings.Cut(rest, ":")
	if source == "" || target == "" || strings.Contains(opts, ":") {
		return "", "", fmt.Errorf("invalid volume specification: %q: %s", s, volumeExample)
	}
	if !path.IsAbs(target) || path.Clean(target) == "/" {
		return "", "", fmt.Errorf("invalid volume specification: %q: the target %q must be an absolute path other than /: %s", s, target, volumeExample)
	}
	if hasOpts {
		for _, o := range strings.Split(opts, ",") {
			if !slices.Contains(volumeOptions[:], o) && !isIDMap(o) {
				return "", "", fmt.Errorf("invalid mode: %q in %q: the options are %s, idmap", o, s, strings.Join(volumeOptions[:], ", "))
			}
		}
	}
	if abs != nil && (source == "." || source == ".." || strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../") || strings.HasPrefix(source, `.\`)) {
		if source, err = abs(source); err != nil {
			return "", "", fmt.Errorf("cannot resolve the source of %q: %w", s, err)
		}
	}
	return target, source + ":" + rest, nil
}

// volumeOptions are the options of a bind or a volume, as the engine knows them.
var volumeOptions = [...]string{"rw", "ro", "z", "Z", "nocopy", "shared", "rshared", "slave", "rslave", "private", "rprivate", "consistent", "cached", "delegated", "volume-nocopy"}

// cutSource cuts the source off; a drive letter of Windows is part of it.
func cutSource(s string) (source, rest string, ok bool) {
	from := 0
	if len(s) > 2 && s[1] == ':' && (s[2] == '\\' || s[2] == '/' && filepath.Separator == '\\') {
		from = 2
	}
	i := strings.IndexByte(s[from:], ':')
	if i < 0 {
		return "", "", false
	}
	return s[:from+i], s[from+i+1:], true
}

func checkTmpfs(s string) (string, error) {
	target, _, _ := strings.Cut(s, ":")
	if !path.IsAbs(target) {
		return "", fmt.Errorf("%q is no absolute path: write target[:options], like /run:size=64m,mode=1777", target)
	}
	return s, nil
}

// volumes returns the binds, the anonymous volumes and the tmpfs mounts.
func (o *Create) volumes(e Env) (binds []string, anonymous map[string]struct{}, tmpfs map[string]string, err error) {
	anonymous = map[string]struct{}{}
	for _, s := range o.volume.v {
		target, bind, err := parseVolume(s, e.Abs)
		if err != nil {
			return nil, nil, nil, err
		}
		if bind != "" {
			if at := strings.LastIndex(bind, ":"); bind[at+1:] != target {
				bind = bind[:at+1] + e.idMapOf(bind[at+1:])
			}
			binds = append(binds, bind)
		} else {
			anonymous[target] = struct{}{}
		}
	}
	if len(o.tmpfs.v) > 0 {
		tmpfs = map[string]string{}
	}
	for _, s := range o.tmpfs.v {
		target, opts, _ := strings.Cut(s, ":")
		if _, twice := tmpfs[target]; twice {
			return nil, nil, nil, errors.New("duplicate mount point: --tmpfs " + target + " is given twice")
		}
		tmpfs[target] = opts
	}
	return binds, anonymous, tmpfs, nil
}
