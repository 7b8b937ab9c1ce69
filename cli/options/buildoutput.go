package options

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hoy/client"
)

// Output is what becomes of a build's result, and where the archive goes that the engine
// sends of it.
type Output struct {
	client.BuildOutput
	File   string // the archive is written to this file, "-" for standard output
	Folder string // or unpacked in this one
}

// csvFields reads a flag of key=value fields with commas, which may be quoted as in CSV.
func csvFields(s string) ([]string, error) {
	r := csv.NewReader(strings.NewReader(s))
	r.LazyQuotes = true
	f, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	}
	return f, err
}

// attributes reads type=TYPE and the other fields of a flag.
func attributes(s string) (kind string, attrs map[string]string, err error) {
	f, err := csvFields(s)
	if err != nil {
		return "", nil, err
	}
	attrs = map[string]string{}
	for _, field := range f {
		k, v, ok := strings.Cut(field, "=")
		if !ok {
			return "", nil, fmt.Errorf("%q is no key=value", field)
		}
		if k = strings.ToLower(strings.TrimSpace(k)); k == "type" {
			kind = v
		} else {
			attrs[k] = v
		}
	}
	if kind == "" {
		return "", nil, errors.New("it has no type=…")
	}
	return kind, attrs, nil
}

func checkOutput(s string) (string, error) { _, err := parseOutput(s); return s, err }

// parseOutput reads one --output. A path alone is a folder, - alone an archive on standard
// output.
func parseOutput(s string) (o Output, err error) {
	if s == "-" {
		return Output{BuildOutput: client.BuildOutput{Type: "tar"}, File: "-"}, nil
	}
	if s != "" && !strings.Contains(s, "type=") && !strings.Contains(s, ",") {
		return Output{BuildOutput: client.BuildOutput{Type: "local"}, Folder: s}, nil
	}
	o.Type, o.Attrs, err = attributes(s)
	if err != nil {
		return o, fmt.Errorf("%q is no output: %w: write one like type=local,dest=out", s, err)
	}
	dest := o.Attrs["dest"]
	delete(o.Attrs, "dest")
	return o, o.place(dest)
}

// place says where the archive of an output goes.
func (o *Output) place(dest string) error {
	switch o.Type {
	case "image", "registry", "cacheonly":
		if dest != "" {
			return fmt.Errorf("an output of type %s has no dest: it is kept in the engine or pushed", o.Type)
		}
		return nil
	case "local":
		if o.Attrs["mode"] != "" && o.Attrs["mode"] != "copy" {
			return fmt.Errorf("mode=%s of a local output is not built yet: remove the folder before", o.Attrs["mode"])
		}
		if dest == "" || dest == "-" {
			return errors.New("dest is required for local exporter: name a folder")
		}
		o.Folder = dest
		return nil
	case "tar":
		if o.File = dest; dest == "" {
			o.File = "-"
		}
		return nil
	case "oci", "docker":
		return o.placeLayout(dest)
	}
	return fmt.Errorf("unknown output %q: it is one of image, registry, local, tar, oci, docker, cacheonly", o.Type)
}

// placeLayout is for archives of images, which tar=false has unpacked.
func (o *Output) placeLayout(dest string) error {
	archive := true
	if v, ok := o.Attrs["tar"]; ok {
		var err error
		if archive, err = strconv.ParseBool(v); err != nil {
			return fmt.Errorf("tar=%s is neither true nor false", v)
		}
		delete(o.Attrs, "tar")
	}
	switch {
	case archive && dest == "" && o.Type == "docker":
		o.Type = "image" // that is what loading it would give
	case archive && dest == "":
		o.File = "-"
	case archive:
		o.File = dest
	case dest == "" || dest == "-":
		return fmt.Errorf("dest is required for %s exporter: name a folder", o.Type)
	default:
		o.Folder = dest
	}
	return nil
}

// targets are all outputs, with --push, --load and --annotation.
func (o *Build) targets() (list []Output, err error) {
	for _, s := range o.outputs.v {
		out, err := parseOutput(s)
		if err != nil {
			return nil, err
		}
		if o.IIDFile != "" && (out.Type == "local" || out.Type == "tar") {
			return nil, errors.New("local and tar exporters are incompatible with image ID file")
		}
		list = append(list, out)
	}
	is := func(kinds ...string) func(Output) bool {
		return func(o Output) bool { return slices.Contains(kinds, o.Type) }
	}
	switch i := slices.IndexFunc(list, is("image", "registry")); {
	case o.push && i >= 0:
		list[i].set("push", "true")
	case o.push:
		list = append(list, Output{BuildOutput: client.BuildOutput{Type: "registry"}})
	}
	if o.load && !slices.ContainsFunc(list, is("image")) {
		list = append(list, Output{BuildOutput: client.BuildOutput{Type: "image"}})
	}
	notes, err := o.annotated()
	if err != nil || len(notes) == 0 {
		return list, errors.Join(err, unique(list))
	}
	if len(list) == 0 {
		list = []Output{{BuildOutput: client.BuildOutput{Type: "image"}}}
	}
	for i := range list {
		if is("image", "registry", "oci", "docker")(list[i]) {
			for k, v := range notes {
				list[i].set(k, v)
			}
		}
	}
	return list, unique(list)
}

func (o *Output) set(key, value string) {
	o.Attrs = maps.Clone(o.Attrs)
	if o.Attrs == nil {
		o.Attrs = map[string]string{}
	}
	o.Attrs[key] = value
}

// unique refuses two outputs to the same place.
func unique(list []Output) error {
	seen := map[string]bool{}
	for _, o := range list {
		for _, to := range []string{o.File, o.Folder} {
			if to != "" && seen[to] {
				return fmt.Errorf("two outputs cannot both be written to %s", strings.Replace(to, "-", "standard output", 1))
			}
			seen[to] = true
		}
	}
	return nil
}

// annotationKinds is docker's way to say what an annotation is of.
const annotationKinds = `^(index|index-descriptor|manifest|manifest-descriptor)(\[[A-Za-z0-9_/-]+\])?$`

func checkAnnotation(s string) (string, error) { _, _, err := parseAnnotation(s); return s, err }

// parseAnnotation reads [type[platform],…:]key=value, and returns the attributes of an
// exporter that say the same.
func parseAnnotation(s string) (keys []string, value string, err error) {
	k, value, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return nil, "", fmt.Errorf("invalid annotation %q, expected key=value", s)
	}
	kinds, key, ok := strings.Cut(k, ":")
	if !ok {
		return []string{"annotation." + k}, value, nil
	}
	annotationKind := regexp.MustCompile(annotationKinds) // not at every command's start
	for kind := range strings.SplitSeq(kinds, ",") {
		if !annotationKind.MatchString(kind) {
			return nil, "", fmt.Errorf("unknown annotation type %q: it is index, index-descriptor, manifest or manifest-descriptor, with a [platform] if need be", kind)
		}
		name, platform, _ := strings.Cut(kind, "[")
		if platform != "" {
			platform = "[" + platform
		}
		keys = append(keys, "annotation-"+name+platform+"."+key)
	}
	return keys, value, nil
}

func (o *Build) annotated() (map[string]string, error) {
	m := map[string]string{}
	for _, s := range o.annotations.v {
		keys, v, err := parseAnnotation(s)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			m[k] = v
		}
	}
	return m, nil
}
