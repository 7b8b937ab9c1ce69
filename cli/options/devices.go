package options

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
)

const deviceExample = "write /dev/NAME[:/dev/NAME[:rwm]], like /dev/fuse or /dev/sda:/dev/xvda:r"

func checkDevice(s string) (string, error) {
	if isCDI(s) {
		return s, nil
	}
	_, err := parseDevice(s)
	return s, err
}

// isCDI tells a device of the Container Device Interface (vendor.com/class=name)
// from a path.
func isCDI(s string) bool {
	kind, name, ok := strings.Cut(s, "=")
	vendor, class, slash := strings.Cut(kind, "/")
	return ok && slash && vendor != "" && class != "" && name != "" && !strings.Contains(class, "/")
}

func parseDevice(s string) (d container.DeviceMapping, err error) {
	d.CgroupPermissions = "rwm"
	parts := strings.Split(s, ":")
	perms := func(p string) error {
		if p == "" || strings.Trim(p, "rwm") != "" || len(p) > 3 {
			return fmt.Errorf("bad mode specified: %q in %q: %s", p, s, deviceExample)
		}
		d.CgroupPermissions = p
		return nil
	}
	switch len(parts) {
	case 3:
		if err := perms(parts[2]); err != nil {
			return d, err
		}
		d.PathInContainer = parts[1]
	case 2:
		if strings.HasPrefix(parts[1], "/") {
			d.PathInContainer = parts[1]
		} else if err := perms(parts[1]); err != nil {
			return d, err
		}
	case 1:
	default:
		return d, fmt.Errorf("invalid device specification: %q: %s", s, deviceExample)
	}
	d.PathOnHost = parts[0]
	if d.PathInContainer == "" {
		d.PathInContainer = d.PathOnHost
	}
	if !strings.HasPrefix(d.PathOnHost, "/") || !strings.HasPrefix(d.PathInContainer, "/") {
		return d, fmt.Errorf("%q is not an absolute path: %s", s, deviceExample)
	}
	return d, nil
}

// checkDeviceRule wants a line as the devices cgroup takes it.
func checkDeviceRule(s string) (string, error) {
	if !regexp.MustCompile(`^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$`).MatchString(s) {
		return "", fmt.Errorf("invalid device cgroup format '%s': write type major:minor permissions, like 'c 42:* rwm'", s)
	}
	return s, nil
}

// devices returns the device files and the requests for CDI devices and GPUs.
func (o *Create) devices() (paths []container.DeviceMapping, requests []container.DeviceRequest, err error) {
	requests = append(requests, o.gpus.v...)
	var cdi []string
	for _, s := range o.device.v {
		if isCDI(s) {
			cdi = append(cdi, s)
			continue
		}
		d, err := parseDevice(s)
		if err != nil {
			return nil, nil, err
		}
		paths = append(paths, d)
	}
	if cdi != nil {
		requests = append(requests, container.DeviceRequest{Driver: "cdi", DeviceIDs: cdi})
	}
	return paths, requests, nil
}

// gpus is the flag --gpus.
type gpus struct{ v []container.DeviceRequest }

func (g *gpus) Type() string   { return "gpu-request" }
func (g *gpus) String() string { return "" }

func (g *gpus) Set(s string) error {
	r, err := parseGPUs(s)
	if err != nil {
		return err
	}
	g.v = append(g.v, r)
	return nil
}

// parseGPUs reads all, a number, or count=…,device=…,driver=…,capabilities=…,options=…
func parseGPUs(s string) (r container.DeviceRequest, err error) {
	const example = "write all, a number, or device=0"
	fs, err := fields(s)
	if err != nil {
		return r, err
	}
	r.Options = map[string]string{}
	seen := map[string]bool{}
	caps := []string{"gpu"}
	for _, f := range fs {
		k, v, has := strings.Cut(f, "=")
		if !has {
			k, v = "count", k
		}
		if k = strings.ToLower(k); seen[k] {
			return r, fmt.Errorf("gpu request key '%s' can be specified only once", k)
		}
		seen[k] = true
		switch k {
		case "driver":
			r.Driver = v
		case "count":
			if r.Count = -1; v != "all" {
				if r.Count, err = strconv.Atoi(v); err != nil {
					return r, fmt.Errorf("invalid count (%s): value must be either \"all\" or an integer: %s", v, example)
				}
			}
		case "device":
			r.DeviceIDs = strings.Split(v, ",")
		case "capabilities":
			caps = append(caps, strings.Split(v, ",")...)
		case "options":
			fs, err := fields(v)
			if err != nil {
				return r, err
			}
			r.Options = pairs(fs)
		default:
			return r, fmt.Errorf("unexpected key '%s' in '%s': %s", k, f, example)
		}
	}
	if !seen["count"] && r.DeviceIDs == nil {
		r.Count = 1
	}
	r.Capabilities = [][]string{caps}
	return r, nil
}
