package spec

import (
	"regexp"
	"slices"
	"strconv"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"

	"hoy/keeper/ship"
	"hoy/lib/fault"
)

// log checks the log driver and its options.
func (v *validation) log() error {
	l := v.h.LogConfig
	if l.Type == "" {
		l.Type = v.logDriver()
	}
	warnings, err := ValidateLog(l)
	v.warnings = append(v.warnings, warnings...)
	return err
}

func (v *validation) logDriver() string {
	if v.host.LogDriver != "" {
		return v.host.LogDriver
	}
	return "json-file"
}

// LogDrivers are the log drivers that there are.
func LogDrivers() []string {
	return []string{"fluentd", "gelf", "journald", "json-file", "local", "none", "syslog"}
}

// ValidateLog checks a log driver and its options, those of an engine's default too.
func ValidateLog(l container.LogConfig) (warnings []string, err error) {
	switch {
	case slices.Contains([]string{"awslogs", "splunk", "gcplogs"}, l.Type):
		return nil, fault.New(fault.NotImplemented, "the log driver %s sends to one company's service and is not part of hoy: fluentd, gelf or syslog reach it", l.Type)
	case !slices.Contains(LogDrivers(), l.Type):
		return nil, invalid("error looking up logging plugin %s: plugin %q not found", l.Type, l.Type)
	}
	if l.Type == "none" {
		return nil, nil // docker does not look at its options: those of a file that another one overrides stay
	}
	for key, value := range l.Config {
		if !knownLogOption(l.Type, key) {
			return nil, invalid("unknown log opt '%s' for %s log driver", key, l.Type)
		}
		if err := logOption(key, value); err != nil {
			return nil, err
		}
	}
	if err := ship.Check(l.Type, l.Config); err != nil {
		return nil, err
	}
	if _, err := LogTag(l.Config["tag"], LogTagData{}); err != nil {
		return nil, err
	}
	return logTogether(l)
}

// knownLogOption tells whether the driver has the option.
func knownLogOption(driver, key string) bool {
	common := []string{"mode", "max-buffer-size"}
	files := []string{"max-size", "max-file", "compress"}
	told := []string{"labels", "labels-regex", "env", "env-regex", "tag"}
	cache := []string{"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"}
	switch driver {
	case "json-file":
		return slices.Contains(slices.Concat(common, files, told), key)
	case "local":
		return slices.Contains(slices.Concat(common, files), key)
	}
	return slices.Contains(slices.Concat(common, told, cache), key) || ship.Owns(driver, key)
}

// logOption checks the value of an option that several drivers have.
func logOption(key, value string) error {
	switch key {
	case "max-size", "cache-max-size", "max-buffer-size":
		if n, err := units.RAMInBytes(value); (err != nil || n <= 0) && value != "-1" {
			return invalid("invalid value for %s: %s", key, value)
		}
	case "max-file", "cache-max-file":
		if n, err := strconv.Atoi(value); err != nil || n < 1 {
			return invalid("%s cannot be less than 1", key)
		}
	case "compress", "cache-compress", "cache-disabled":
		if _, err := strconv.ParseBool(value); err != nil {
			return invalid("invalid value for %s: %s: want true or false", key, value)
		}
	case "labels-regex", "env-regex":
		if _, err := regexp.Compile(value); err != nil {
			return invalid("invalid value for %s: %w", key, err)
		}
	case "mode":
		if value != "blocking" && value != "non-blocking" {
			return invalid("logger: logging mode %q is not supported", value)
		}
	}
	return nil
}

// logTogether checks what options mean beside each other.
func logTogether(l container.LogConfig) (warnings []string, err error) {
	o := l.Config
	if _, set := o["max-buffer-size"]; set && o["mode"] != "non-blocking" {
		return nil, invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
	}
	if compress, _ := strconv.ParseBool(o["compress"]); compress && o["max-file"] == "1" {
		return nil, invalid("compress cannot be true when max-file is less than 2 or max-size is not set")
	}
	if o["mode"] == "blocking" && ship.Known(l.Type) {
		warnings = append(warnings, "The log mode blocking has no effect: a container never waits for "+l.Type+"; what it has not taken yet waits in the log's files.")
	}
	return warnings, nil
}
