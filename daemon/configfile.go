package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"hoy/lib/fault"
)

// inFile gives the flag of a key of daemon.json whose name differs: lists are in
// the plural there.
func inFile(key string) string {
	switch key {
	case "hosts", "labels", "dns-opts", "log-opts", "exec-opts", "storage-opts", "default-ulimits",
		"default-address-pools", "registry-mirrors", "features", "default-network-opts",
		"host-gateway-ips", "cdi-spec-dirs", "authorization-plugins", "node-generic-resources":
		return strings.TrimSuffix(key, "s")
	case "insecure-registries":
		return "insecure-registry"
	case "runtimes":
		return "add-runtime"
	}
	return key
}

// readFile sets flags from the configuration file, as dockerd does: an unknown key,
// or one that is also on the command line, is an error. The default file may be
// missing. It returns warnings.
func (f *flags) readFile() ([]string, error) {
	b, err := os.ReadFile(f.configFile)
	if errors.Is(err, fs.ErrNotExist) && !f.Changed("config-file") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("unable to configure the engine with file %s: %w", f.configFile, err)
	}
	if err := f.applyFile(b); err != nil {
		return nil, fault.New(fault.Invalid, "unable to configure the engine with file %s: %w", f.configFile, err)
	}
	return nil, nil
}

func (f *flags) applyFile(b []byte) error {
	if len(strings.TrimSpace(string(b))) == 0 {
		return nil
	}
	var keys map[string]any
	if err := json.Unmarshal(b, &keys); err != nil {
		return err
	}
	names := make([]string, 0, len(keys))
	for k := range keys {
		names = append(names, k)
	}
	slices.Sort(names)
	var unknown, twice []string
	for _, k := range names {
		switch flag := f.Lookup(inFile(k)); {
		case flag == nil && k == "min-api-version", flag == nil && k == "builder":
			delete(keys, k) // keys without flag, and without meaning here
		case flag == nil || flag.Name == "config-file" || flag.Name == "validate":
			unknown = append(unknown, k)
		case flag.Changed:
			twice = append(twice, fmt.Sprintf("%s: (from flag: %s, from file: %v)", k, flag.Value, keys[k]))
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("the following directives don't match any configuration option: %s", strings.Join(unknown, ", "))
	}
	if len(twice) > 0 {
		return fmt.Errorf("the following directives are specified both as a flag and in the configuration file: %s", strings.Join(twice, ", "))
	}
	for _, k := range names {
		if v, ok := keys[k]; ok {
			if err := f.set(k, v); err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
		}
	}
	return nil
}

// set sets the flag of a key to a JSON value.
func (f *flags) set(key string, v any) error {
	texts, err := flagTexts(key, v)
	if err != nil {
		return err
	}
	for _, t := range texts {
		if err := f.Set(inFile(key), t); err != nil {
			return err
		}
	}
	return nil
}

// flagTexts writes a JSON value the way the command line would have it.
func flagTexts(key string, v any) ([]string, error) {
	switch v := v.(type) {
	case string, bool, float64:
		return []string{fmt.Sprint(v)}, nil
	case []any:
		var l []string
		for _, e := range v {
			t, err := elementText(key, e)
			if err != nil {
				return nil, err
			}
			l = append(l, t)
		}
		return l, nil
	case map[string]any:
		var l []string
		for k, e := range v {
			t, err := memberText(key, k, e)
			if err != nil {
				return nil, err
			}
			l = append(l, t)
		}
		slices.Sort(l)
		return l, nil
	}
	return nil, fmt.Errorf("unexpected value %v", v)
}

func elementText(key string, e any) (string, error) {
	m, isMap := e.(map[string]any)
	if !isMap {
		return fmt.Sprint(e), nil
	}
	if key != "default-address-pools" {
		return "", fmt.Errorf("unexpected value %v", e)
	}
	return fmt.Sprintf("base=%v,size=%v", m["base"], m["size"]), nil
}

func memberText(key, name string, e any) (string, error) {
	m, isMap := e.(map[string]any)
	switch {
	case key == "default-ulimits" && isMap:
		return fmt.Sprintf("%s=%v:%v", first(fmt.Sprint(m["Name"]), name), number(m["Soft"]), number(m["Hard"])), nil
	case isMap:
		return name, nil // of a flag without meaning
	}
	return fmt.Sprintf("%s=%v", name, e), nil
}

// number keeps big numbers from being written as 1e+06.
func number(v any) string {
	if f, ok := v.(float64); ok {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprint(v)
}

func first(a, b string) string {
	if a != "" && a != "<nil>" {
		return a
	}
	return b
}
