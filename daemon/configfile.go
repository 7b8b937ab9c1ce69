package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"hoy/build"
	"hoy/lib/fault"
)

// inFile gives the flag of a key of daemon.json whose name differs: lists are in
// the plural there.
func inFile(key string) string {
	switch key {
	case "hosts", "labels", "dns-opts", "log-opts", "exec-opts", "storage-opts", "default-ulimits",
		"default-address-pools", "registry-mirrors", "features", "default-network-opts", "extension-dirs",
		"host-gateway-ips", "cdi-spec-dirs", "authorization-plugins", "node-generic-resources":
		return strings.TrimSuffix(key, "s")
	case "insecure-registries":
		return "insecure-registry"
	case "runtimes":
		return "add-runtime"
	}
	return key
}

// fileOnly are dockerd's keys without a flag, with what is said of them; "" says
// nothing, as dockerd does of keys that it has given up.
func fileOnly(key string) (why string, known bool) {
	switch key {
	case "builder":
		return "", true // taken by applyFile
	case "extension-config":
		return "there are no plugins", true
	case "deprecated-key-path", "allow-nondistributable-artifacts":
		return "", true
	}
	return "", false
}

// nested says whether a key's value is an object of its own; any other object only
// groups keys, as "proxies" does.
func nested(key string) bool {
	switch key {
	case "default-network-opts", "log-opts", "runtimes", "default-ulimits", "features", "builder", "nri-opts", "extension-config":
		return true
	}
	return false
}

// readFile sets flags from the configuration file, as dockerd does: an unknown key,
// or one that is also on the command line, is an error. The default file may be
// missing. It returns warnings. The words of its errors are dockerd's.
func (f *flags) readFile() ([]string, error) {
	b, err := os.ReadFile(f.configFile)
	if errors.Is(err, fs.ErrNotExist) && !f.Changed("config-file") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("unable to configure the Docker daemon with file %s: %w", f.configFile, err)
	}
	warnings, err := f.applyFile(b)
	if err != nil {
		return nil, fault.New(fault.Invalid, "unable to configure the Docker daemon with file %s: %w", f.configFile, err)
	}
	return warnings, nil
}

func (f *flags) applyFile(b []byte) (warnings []string, err error) {
	keys, err := readKeys(b)
	if err != nil {
		return nil, err
	}
	if err := f.checkKeys(keys); err != nil {
		return nil, err
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if k == "builder" {
			config, more, err := build.ParseConfig(keys[k])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			f.o.Builder = config
			warnings = append(warnings, more...)
			continue
		}
		if k == "runtimes" {
			if f.o.Runtimes, err = readRuntimes(keys[k]); err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			continue
		}
		if why, known := fileOnly(k); known {
			if why != "" {
				warnings = append(warnings, fmt.Sprintf("%s has no effect: %s", k, why))
			}
			continue
		}
		if err := f.set(k, keys[k]); err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
	}
	return warnings, nil
}

// readKeys reads the file's object, with the keys of grouping objects beside the others.
func readKeys(b []byte) (map[string]any, error) {
	b = bytes.TrimSpace(bytes.TrimPrefix(b, []byte("\uFEFF"))) // a byte order mark, as some editors write
	if len(b) == 0 {
		return nil, nil
	}
	var keys map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&keys); err != nil {
		return nil, fmt.Errorf("invalid JSON: %w", err)
	}
	if d.More() {
		return nil, errors.New("invalid JSON: something follows the object")
	}
	for k, v := range maps.Clone(keys) {
		if group, ok := v.(map[string]any); ok && !nested(k) {
			delete(keys, k)
			maps.Copy(keys, group)
		}
	}
	return keys, nil
}

// checkKeys finds keys that nobody knows, and those that are flags as well.
func (f *flags) checkKeys(keys map[string]any) error {
	var unknown, twice []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		_, known := fileOnly(k)
		switch flag := f.Lookup(inFile(k)); {
		case known:
		case flag == nil || flag.Name == "config-file" || flag.Name == "validate":
			unknown = append(unknown, k)
		case flag.Changed && k != "runtimes": // these add up
			twice = append(twice, fmt.Sprintf("%s: (from flag: %s, from file: %v)", k, hidden(k, flag.Value.String()), hidden(k, keys[k])))
		}
	}
	if keys["host-gateway-ip"] != nil && keys["host-gateway-ips"] != nil {
		return errors.New("host-gateway-ip and host-gateway-ips must not both be specified in the config file")
	}
	if len(unknown) > 0 {
		return fmt.Errorf("the following directives don't match any configuration option: %s", strings.Join(unknown, ", "))
	}
	if len(twice) > 0 {
		return fmt.Errorf("the following directives are specified both as a flag and in the configuration file: %s", strings.Join(twice, ", "))
	}
	return nil
}

// hidden is a value as an error may show it: a proxy's may hold a password.
func hidden(key string, v any) any {
	if s, ok := v.(string); ok && strings.HasSuffix(key, "-proxy") {
		return maskCredentials(s)
	}
	return v
}

// set sets the flag of a key to a JSON value.
func (f *flags) set(key string, v any) error {
	flag := f.Lookup(inFile(key))
	texts, err := flagTexts(key, flag.Value, v)
	if err != nil {
		return err
	}
	for _, t := range texts {
		if err := f.Set(flag.Name, t); err != nil {
			return err
		}
	}
	return nil
}

// flagTexts writes a JSON value the way the command line would have it.
func flagTexts(key string, flag pflag.Value, v any) ([]string, error) {
	_, many := flag.(pflag.SliceValue)
	switch v := v.(type) {
	case bool:
		if flag.Type() == "bool" {
			return []string{fmt.Sprint(v)}, nil
		}
	case json.Number:
		if flag.Type() == "int" || key == "default-shm-size" {
			return []string{v.String()}, nil
		}
	case string:
		if !many && flag.Type() != "int" && flag.Type() != "bool" || key == "host-gateway-ip" {
			return []string{v}, nil
		}
	case []any:
		if many {
			return elementTexts(key, v)
		}
	case map[string]any:
		return memberTexts(key, v)
	}
	return nil, fmt.Errorf("unexpected value %v", v)
}

func elementTexts(key string, list []any) (l []string, err error) {
	for _, e := range list {
		switch e := e.(type) {
		case string:
			l = append(l, e)
		case map[string]any:
			if key != "default-address-pools" {
				return nil, fmt.Errorf("unexpected value %v", e)
			}
			l = append(l, fmt.Sprintf("base=%v,size=%v", e["base"], e["size"]))
		default:
			return nil, fmt.Errorf("unexpected value %v", e)
		}
	}
	return l, nil
}

func memberTexts(key string, members map[string]any) (l []string, err error) {
	for name, e := range members {
		m, isMap := e.(map[string]any)
		_, isText := e.(string)
		_, isBool := e.(bool)
		switch {
		case key == "default-ulimits" && isMap:
			l = append(l, fmt.Sprintf("%s=%v:%v", name, m["Soft"], m["Hard"]))
		case key == "default-network-opts" && isMap:
			for k, v := range m {
				l = append(l, fmt.Sprintf("%s=%s=%v", name, k, v))
			}
		case key == "nri-opts":
			l = append(l, name) // of a flag without meaning
		case key == "log-opts" && isText, key == "features" && isBool:
			l = append(l, fmt.Sprintf("%s=%v", name, e))
		default:
			return nil, fmt.Errorf("unexpected value %v for %s", e, name)
		}
	}
	slices.Sort(l)
	return l, nil
}
