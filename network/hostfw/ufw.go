package hostfw

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"hoy/network/firewall"
)

// ufw's configuration (ufw-framework(8)). Application profiles are resolved into
// user.rules already.
const (
	ufwDefaults = "/etc/default/ufw"
	ufwConf     = "/etc/ufw/ufw.conf"
)

// ufwFiles are read in the order in which packets meet them: the file, the chain in it.
func ufwFiles(six string) [][2]string {
	return [][2]string{
		{"/etc/ufw/before" + six + ".rules", "ufw" + six + "-before-input"},
		{"/etc/ufw/user" + six + ".rules", "ufw" + six + "-user-input"},
		{"/etc/ufw/after" + six + ".rules", "ufw" + six + "-after-input"},
	}
}

func (h Host) ufwEnabled() bool { return isYes(shellValue(h.read(ufwConf), "ENABLED")) }

func isYes(s string) bool { return strings.EqualFold(s, "yes") }

// shellValue reads NAME=value or NAME="value".
func shellValue(file, name string) string {
	for line := range strings.Lines(file) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			return strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	return ""
}

func (h Host) readUFW() State {
	defaults := h.read(ufwDefaults)
	s := State{Policy: firewall.Policy{Firewall: "ufw", Refuse: shellValue(defaults, "DEFAULT_INPUT_POLICY") != "ACCEPT"}}
	h.readUFWFamily(&s, "")
	if isYes(shellValue(defaults, "IPV6")) {
		h.readUFWFamily(&s, "6")
	} else {
		// ufw-init then lets nothing in by IPv6 but what comes by lo.
		s.Policy.Rules = append(s.Policy.Rules,
			firewall.PolicyRule{Comment: "ufw: IPV6=no", From: netip.MustParsePrefix("::/0"), Refuse: true})
	}
	return s
}

func (h Host) readUFWFamily(s *State, six string) {
	any := netip.MustParsePrefix("0.0.0.0/0")
	if six != "" {
		any = netip.MustParsePrefix("::/0")
	}
	for _, f := range ufwFiles(six) {
		text, err := os.ReadFile(h.path(f[0]))
		if err != nil {
			s.Warnings = append(s.Warnings, fmt.Sprintf("published ports are closed: cannot read the firewall's %s: %v", f[0], err))
			s.Policy.Rules = append(s.Policy.Rules, firewall.PolicyRule{Comment: "ufw: cannot read " + f[0], From: any, Refuse: true})
			continue
		}
		u := ufwFile{state: s, name: f[0], chain: f[1], any: any}
		for line := range strings.Lines(string(text)) {
			u.line(strings.TrimSpace(line))
		}
	}
}

// ufwFile is a file of rules that is being read.
type ufwFile struct {
	state       *State
	name, chain string
	any         netip.Prefix // of the file's family
	tuple       string       // what ufw's command was for the rules that follow
}

func (u *ufwFile) line(line string) {
	if t, ok := strings.CutPrefix(line, "### tuple ### "); ok {
		u.tuple = ufwCommand(t)
		return
	}
	r, ok := parseRule(line)
	if !ok || r.chain != u.chain || r.irrelevant {
		return
	}
	refuse, ends := false, true
	switch r.target {
	case "ACCEPT", "ufw-user-limit-accept", "ufw6-user-limit-accept":
	case "DROP", "REJECT":
		refuse = true
	case "ufw-skip-to-policy-input", "ufw6-skip-to-policy-input":
		refuse = u.state.Policy.Refuse
	case "LOG", "ufw-not-local", "ufw-user-limit", "ufw6-user-limit", "ufw-user-logging-input", "ufw6-user-logging-input", "ufw-logging-allow", "ufw-logging-deny":
		ends = false
	default:
		u.warn("published ports do not obey %q: it leads to a chain of its own", line)
		ends = false
	}
	if !ends {
		return
	}
	if r.unknown != nil {
		u.warn("published ports cannot obey %q (%v)%s", line, r.unknown, map[bool]string{true: ": it closes more for them", false: ": it opens nothing for them"}[refuse])
		if !refuse {
			return
		}
	}
	// Of both families in one chain: a rule without addresses is of its file's.
	if !r.match.From.IsValid() && !r.match.To.IsValid() && r.match.In != "lo" {
		r.match.To = u.any
	}
	comment := u.tuple
	if comment == "" || !strings.Contains(u.name, "/user") {
		comment = "ufw: " + u.name[strings.LastIndex(u.name, "/")+1:]
	}
	r.match.Limited = strings.HasSuffix(r.target, "-user-limit-accept")
	u.state.Policy.Rules = append(u.state.Policy.Rules, r.rules(comment, refuse)...)
}

func (u *ufwFile) warn(format string, args ...any) {
	w := u.name + ": " + fmt.Sprintf(format, args...)
	for _, have := range u.state.Warnings {
		if have == w {
			return
		}
	}
	u.state.Warnings = append(u.state.Warnings, w)
}

// ufwCommand turns a tuple, "allow tcp 22 0.0.0.0/0 any 10.0.0.0/8 in_eth0", into what
// somebody has said to ufw: "ufw allow 22/tcp from 10.0.0.0/8 on eth0".
func ufwCommand(tuple string) string {
	f := strings.Fields(tuple)
	if len(f) < 7 {
		return "ufw " + tuple
	}
	action, _, _ := strings.Cut(f[0], "_")
	c := "ufw " + action
	switch {
	case f[2] != "any" && f[1] != "any":
		c += " " + f[2] + "/" + f[1]
	case f[2] != "any":
		c += " " + f[2]
	case f[1] != "any":
		c += " " + f[1]
	}
	if !strings.HasSuffix(f[3], "/0") {
		c += " to " + f[3]
	}
	if !strings.HasSuffix(f[5], "/0") {
		c += " from " + f[5]
	}
	if f[4] != "any" {
		c += " port " + f[4]
	}
	for _, rest := range f[6:] {
		if _, link, ok := strings.Cut(rest, "in_"); ok && !strings.HasPrefix(rest, "comment=") {
			c += " on " + link
		}
	}
	return c
}
