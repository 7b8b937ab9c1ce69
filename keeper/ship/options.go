package ship

import (
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"hoy/lib/fault"
)

// driver is one way to ship.
type driver struct {
	options map[string]func(value string) error // nil: any value
	check   func(o map[string]string) error     // of options together; nil: none
	open    func(c *Config) (Target, error)
	retry   func(o map[string]string) (wait time.Duration, most int)
}

func drivers() map[string]driver {
	patient := func(map[string]string) (time.Duration, int) { return time.Second, 0 }
	return map[string]driver{
		"journald": {open: openJournald, retry: patient},
		"syslog": {
			options: map[string]func(string) error{
				"syslog-address": syslogAddress, "syslog-facility": syslogFacility, "syslog-format": syslogFormat,
				"syslog-tls-ca-cert": nil, "syslog-tls-cert": nil, "syslog-tls-key": nil, "syslog-tls-skip-verify": boolean,
			},
			open: openSyslog, retry: patient,
		},
		"gelf": {
			options: map[string]func(string) error{
				"gelf-address": gelfAddress, "gelf-compression-level": number(-1, 9), "gelf-tcp-max-reconnect": number(0, 1<<30),
				"gelf-tcp-reconnect-delay": number(0, 1<<30), "gelf-compression-type": oneOf("gelf-compression-type", "gzip", "zlib", "none"),
			},
			check: checkGELF, open: openGELF, retry: gelfRetry,
		},
		"fluentd": {
			options: map[string]func(string) error{
				"fluentd-address": fluentdAddress, "fluentd-async": boolean, "fluentd-async-reconnect-interval": duration,
				"fluentd-buffer-limit": size, "fluentd-max-retries": number(0, 1<<30), "fluentd-request-ack": boolean,
				"fluentd-retry-wait": duration, "fluentd-sub-second-precision": boolean,
				"fluentd-read-timeout": duration, "fluentd-write-timeout": duration,
			},
			open: openFluentd, retry: fluentdRetry,
		},
	}
}

// Known tells whether there is a driver of this name.
func Known(name string) bool { _, ok := drivers()[name]; return ok }

// Owns tells whether key is an option of the driver itself, rather than one that all
// drivers have.
func Owns(name, key string) bool { _, ok := drivers()[name].options[key]; return ok }

// Check checks the options that the driver owns, in docker's words.
func Check(name string, o map[string]string) error {
	d := drivers()[name]
	for key, value := range o {
		check, own := d.options[key]
		if !own || check == nil {
			continue
		}
		if err := check(value); err != nil {
			return fault.New(fault.Invalid, "invalid log opt %s=%s: %w", key, value, err)
		}
	}
	if d.check != nil {
		return d.check(o)
	}
	return nil
}

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

func boolean(s string) error {
	if _, err := strconv.ParseBool(s); err != nil {
		return invalid("want true or false")
	}
	return nil
}

func number(low, high int) func(string) error {
	return func(s string) error {
		if n, err := strconv.Atoi(s); err != nil || n < low || n > high {
			return invalid("want a number from %d to %d", low, high)
		}
		return nil
	}
}

func duration(s string) error {
	if d, err := time.ParseDuration(s); err != nil || d < 0 {
		return invalid("want a duration like 500ms or 3s")
	}
	return nil
}

func size(s string) error {
	if n, err := units.RAMInBytes(s); err != nil || n < 0 {
		return invalid("want a size like 8MB")
	}
	return nil
}

func oneOf(key string, values ...string) func(string) error {
	return func(s string) error {
		if !slices.Contains(values, s) {
			return invalid("%s is one of %s", key, strings.Join(values, ", "))
		}
		return nil
	}
}

// address is where a target listens.
type address struct {
	network string // as net.Dial takes it; "tls" is tcp with TLS
	at      string // host:port or a path
}

// parseAddress reads scheme://host:port or scheme:///path. Without a port it is port.
func parseAddress(s, port string, schemes map[string]string) (address, error) {
	u, err := url.Parse(s)
	if err != nil {
		return address{}, invalid("%w", err)
	}
	network, ok := schemes[u.Scheme]
	if !ok {
		return address{}, invalid("unsupported scheme: %q", u.Scheme)
	}
	if strings.HasPrefix(network, "unix") {
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return address{}, invalid("a socket needs an absolute path")
		}
		return address{network, u.Path}, nil
	}
	if u.Path != "" && u.Path != "/" {
		return address{}, invalid("should not contain a path element")
	}
	if u.Hostname() == "" {
		return address{}, invalid("a host is missing")
	}
	if p := u.Port(); p != "" {
		port = p
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return address{}, invalid("a port from 1 to 65535 is missing")
	}
	return address{network, joinHostPort(u.Hostname(), port)}, nil
}

func joinHostPort(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

func duration0(o map[string]string, key string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(o[key]); err == nil && d > 0 {
		return d
	}
	return otherwise
}

func isTrue(o map[string]string, key string) bool { b, _ := strconv.ParseBool(o[key]); return b }
