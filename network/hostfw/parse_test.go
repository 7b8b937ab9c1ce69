package hostfw

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hoy/network/firewall"
)

// tree writes files below a directory that stands for the root.
func tree(t *testing.T, files map[string]string) Host {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Host{Root: root}
}

// say writes a rule in a line.
func say(r firewall.PolicyRule) string {
	s := "let in"
	if r.Refuse {
		s = "refuse"
	}
	if r.Zone != nil {
		s = "zone " + r.Zone.Name
	}
	if r.Proto != "" {
		s += " " + r.Proto
	}
	if r.Last != 0 {
		s += fmt.Sprintf(" %d-%d", r.First, r.Last)
	}
	if r.SourcePort[1] != 0 {
		s += fmt.Sprintf(" sport %d-%d", r.SourcePort[0], r.SourcePort[1])
	}
	if r.From.IsValid() {
		s += map[bool]string{false: " from ", true: " not from "}[r.Not] + r.From.String()
	}
	if r.FromSet != nil {
		s += fmt.Sprint(map[bool]string{false: " from ", true: " not from "}[r.Not], *r.FromSet)
	}
	if r.Limited {
		s += " limited"
	}
	if r.To.IsValid() {
		s += " to " + r.To.String()
	}
	if r.In != "" {
		s += " by " + r.In
	}
	return s + ": " + r.Comment
}

func compare(t *testing.T, got []firewall.PolicyRule, want ...string) {
	t.Helper()
	var lines []string
	for _, r := range got {
		lines = append(lines, say(r))
	}
	if !slices.Equal(lines, want) {
		t.Errorf("the rules are\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

const userRules = `*filter
:ufw-user-input - [0:0]
### RULES ###

### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp --dport 22 -j ACCEPT

### tuple ### allow any 53 0.0.0.0/0 any 10.0.0.0/8 in
-A ufw-user-input -p tcp --dport 53 -s 10.0.0.0/8 -j ACCEPT
-A ufw-user-input -p udp --dport 53 -s 10.0.0.0/8 -j ACCEPT

### tuple ### deny tcp 80 0.0.0.0/0 any 0.0.0.0/0 in_eth0
-A ufw-user-input -i eth0 -p tcp --dport 80 -j DROP

### tuple ### limit tcp 2222 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp --dport 2222 -m conntrack --ctstate NEW -m recent --set
-A ufw-user-input -p tcp --dport 2222 -m conntrack --ctstate NEW -m recent --update --seconds 30 --hitcount 6 -j ufw-user-limit
-A ufw-user-input -p tcp --dport 2222 -j ufw-user-limit-accept

### tuple ### allow_log tcp 23 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-logging-input -p tcp --dport 23 -j RETURN
-A ufw-user-input -p tcp --dport 23 -j ufw-user-logging-input
-A ufw-user-input -p tcp --dport 23 -j ACCEPT

### tuple ### allow tcp 80,8000:8100 192.0.2.1 1024 0.0.0.0/0 WWW%20Full - in comment=68656c6c6f
-A ufw-user-input -p tcp -m multiport --dports 80,8000:8100 -d 192.0.2.1 -m multiport --sports 1024 -j ACCEPT -m comment --comment 'dapp_WWW%20Full'

### tuple ### route:allow any any 0.0.0.0/0 any 0.0.0.0/0 in_eth0
-A ufw-user-forward -i eth0 -j ACCEPT
### END RULES ###
COMMIT
`

// TestUFWFiles: what ufw's files mean, with lines that an administrator has added.
func TestUFWFiles(t *testing.T) {
	h := tree(t, map[string]string{
		"/etc/default/ufw":  "IPV6=no\nDEFAULT_INPUT_POLICY=\"DROP\"\n",
		"/etc/ufw/ufw.conf": "ENABLED=yes\n",
		"/etc/ufw/before.rules": `*filter
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp --icmp-type echo-request -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-not-local -j DROP
-A ufw-before-input -p tcp --dport 443 ! -s 192.0.2.0/255.255.255.0 -j REJECT --reject-with tcp-reset
-A ufw-before-input -p tcp --dport 25 -m geoip --src-cc XX -j DROP
-A ufw-before-input -p tcp --dport 26 -m geoip --src-cc XX -j ACCEPT
-A ufw-before-input -p tcp --dport 27 -j my-own
COMMIT
`,
		"/etc/ufw/user.rules":  userRules,
		"/etc/ufw/after.rules": "*filter\n-A ufw-after-input -p udp --dport 137 -j ufw-skip-to-policy-input\nCOMMIT\n",
	})
	s := h.Read()
	compare(t, s.Policy.Rules,
		"let in by lo: ufw: before.rules",
		"refuse tcp 443-443 not from 192.0.2.0/24: ufw: before.rules",
		"refuse tcp 25-25 to 0.0.0.0/0: ufw: before.rules",
		"let in tcp 22-22 to 0.0.0.0/0: ufw allow 22/tcp",
		"let in tcp 53-53 from 10.0.0.0/8: ufw allow 53 from 10.0.0.0/8",
		"let in udp 53-53 from 10.0.0.0/8: ufw allow 53 from 10.0.0.0/8",
		"refuse tcp 80-80 to 0.0.0.0/0 by eth0: ufw deny 80/tcp on eth0",
		"let in tcp 2222-2222 limited to 0.0.0.0/0: ufw limit 2222/tcp",
		"let in tcp 23-23 to 0.0.0.0/0: ufw allow 23/tcp",
		"let in tcp 80-80 sport 1024-1024 to 192.0.2.1/32: ufw allow 80,8000:8100/tcp to 192.0.2.1 port 1024",
		"let in tcp 8000-8100 sport 1024-1024 to 192.0.2.1/32: ufw allow 80,8000:8100/tcp to 192.0.2.1 port 1024",
		"refuse udp 137-137 to 0.0.0.0/0: ufw: after.rules",
		"refuse from ::/0: ufw: IPV6=no",
	)
	if !s.Policy.Refuse || len(s.Warnings) != 3 {
		t.Errorf("refuse %v, with %d warnings:\n%s", s.Policy.Refuse, len(s.Warnings), strings.Join(s.Warnings, "\n"))
	}
}

// TestUnreadable: a firewall whose rules cannot be read closes, and says so.
func TestUnreadable(t *testing.T) {
	s := tree(t, map[string]string{"/etc/default/ufw": "IPV6=yes\nDEFAULT_INPUT_POLICY=ACCEPT\n", "/etc/ufw/ufw.conf": "ENABLED=yes\n"}).Read()
	if len(s.Warnings) != 6 || len(s.Policy.Rules) != 6 || !s.Policy.Rules[0].Refuse || !s.Policy.Rules[5].Refuse {
		t.Errorf("%+v", s)
	}
	if s := (tree(t, map[string]string{"/etc/ufw/ufw.conf": "ENABLED=no\n"}).Read()); s.Policy.Firewall != "" {
		t.Errorf("a firewall that is not at work: %+v", s)
	}
}

// TestFirewalldFiles: zones of the administrator's before those that come with it, in
// the order of firewalld's chains.
func TestFirewalldFiles(t *testing.T) {
	h := tree(t, map[string]string{
		"/etc/firewalld/firewalld.conf":        "DefaultZone=work\n",
		"/usr/lib/firewalld/zones/work.xml":    `<zone><service name="ssh"/></zone>`,
		"/usr/lib/firewalld/zones/drop.xml":    `<zone target="DROP"><source address="203.0.113.0/24"/><source ipset="bad"/><source ipset="ports"/><source ipset="gone"/><source mac="02:00:00:00:00:02"/></zone>`,
		"/etc/firewalld/ipsets/bad.xml":        `<ipset type="hash:net"><option name="family" value="inet"/><entry>198.51.100.0/25</entry><entry>198.51.100.200-198.51.100.210</entry></ipset>`,
		"/etc/firewalld/ipsets/office.xml":     `<ipset type="hash:mac"><entry>02:00:00:00:00:09</entry></ipset>`,
		"/etc/firewalld/ipsets/ports.xml":      `<ipset type="hash:ip,port"><entry>10.0.0.1,80</entry></ipset>`,
		"/etc/firewalld/ipsets/short.xml":      `<ipset type="hash:ip"><option name="timeout" value="60"/></ipset>`,
		"/usr/lib/firewalld/services/ssh.xml":  `<service><port protocol="tcp" port="22"/><include service="loop"/></service>`,
		"/usr/lib/firewalld/services/mdns.xml": `<service><port protocol="udp" port="5353"/><destination ipv4="224.0.0.251" ipv6="ff02::fb"/><include service="ssh"/></service>`,
		"/usr/lib/firewalld/services/loop.xml": `<service><include service="mdns"/><include service="loop"/></service>`,
		"/etc/firewalld/zones/work.xml": `<?xml version="1.0" encoding="utf-8"?>
<zone target="ACCEPT">
  <interface name="eth+"/>
  <service name="mdns"/>
  <port protocol="tcp" port="8000-8100"/>
  <source-port protocol="udp" port="53"/>
  <protocol value="sctp"/>
  <protocol value="gre"/>
  <rule priority="10"><accept/></rule>
  <rule family="ipv4"><source address="10.0.0.0/8" invert="True"/><port protocol="tcp" port="443"/><reject/></rule>
  <rule family="ipv6"><service name="ssh"/><accept/></rule>
  <rule priority="-1"><source address="198.51.100.7"/><drop/></rule>
  <rule><source mac="02:00:00:00:00:01"/><drop/></rule>
  <rule><source mac="02:00:00:00:00:01"/><accept/></rule>
  <rule priority="20"><source ipset="office" invert="True"/><drop/></rule>
  <rule priority="21"><source ipset="short"/><accept/></rule>
  <rule><icmp-block name="echo-request"/></rule>
  <rule><masquerade/></rule>
</zone>`,
	})
	s := h.readFirewalld()
	compare(t, s.Policy.Rules,
		"zone drop from 203.0.113.0/24: firewalld: from 203.0.113.0/24",
		"zone drop from {ipset bad [{198.51.100.0 198.51.100.127} {198.51.100.200 198.51.100.210}] []}: firewalld: from ipset bad",
		"zone drop from {link address 02:00:00:00:00:02 [] [02:00:00:00:00:02]}: firewalld: from link address 02:00:00:00:00:02",
		"zone work by eth*: firewalld: by eth+",
		"zone work: firewalld: by default")
	work := s.Policy.Rules[3].Zone
	compare(t, work.Rules,
		"refuse from 198.51.100.7/32: work: rich rule",
		"refuse tcp 443-443 not from 10.0.0.0/8 to 0.0.0.0/0: work: port 443/tcp",
		"refuse from {link address 02:00:00:00:00:01 [] [02:00:00:00:00:01]}: work: rich rule",
		"let in udp 5353-5353 to 224.0.0.251/32: work: service mdns",
		"let in udp 5353-5353 to ff02::fb/128: work: service mdns",
		"let in tcp 22-22: work: service ssh",
		"let in tcp 8000-8100: work: port 8000-8100/tcp",
		"let in udp sport 53-53: work: source port 53/udp",
		"let in sctp: work: protocol sctp",
		"let in tcp 22-22 to ::/0: work: service ssh",
		"let in udp 5353-5353 to ff02::fb/128: work: service mdns",
		"let in from {link address 02:00:00:00:00:01 [] [02:00:00:00:00:01]}: work: rich rule",
		"let in: work: rich rule",
		"refuse not from {ipset office [] [02:00:00:00:00:09]}: work: rich rule",
	)
	if work.Refuse || !s.Policy.Rules[0].Zone.Refuse {
		t.Error("the targets are not those of the zones")
	}
	if len(s.Warnings) != 3 {
		t.Errorf("warnings:\n%s", strings.Join(s.Warnings, "\n"))
	}
}

// TestBlock: ours comes and goes, and is the only thing that does.
func TestBlock(t *testing.T) {
	const file = "*nat\nCOMMIT\n*filter\n-A ufw-before-input -i lo -j ACCEPT\nCOMMIT\n# end\n"
	one, err := withBlock(file, "hoy-hoy0", "-A x -j ACCEPT")
	if err != nil {
		t.Fatal(err)
	}
	const want = "*nat\nCOMMIT\n*filter\n-A ufw-before-input -i lo -j ACCEPT\n# hoy-hoy0: containers (hoy adds and removes this)\n-A x -j ACCEPT\n# hoy-hoy0: end\nCOMMIT\n# end\n"
	if one != want {
		t.Errorf("got\n%s", one)
	}
	two, err := withBlock(one, "hoy-hoy1", "-A x -j ACCEPT")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := withBlock(two, "hoy-hoy1", "-A x -j ACCEPT"); err != nil || again != two {
		t.Errorf("twice: %v\n%s", err, again)
	}
	for _, owner := range []string{"hoy-hoy0", "hoy-hoy1"} {
		if two, err = withBlock(two, owner, ""); err != nil {
			t.Fatal(err)
		}
	}
	if two != file {
		t.Errorf("after both are gone:\n%s", two)
	}
	for _, bad := range []string{"", "*filter\n", "# hoy-hoy0: containers (hoy adds and removes this)\n*filter\nCOMMIT\n"} {
		if got, err := withBlock(bad, "hoy-hoy0", "-A x"); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

// TestRich: what firewall-cmd prints is what its files say.
func TestRich(t *testing.T) {
	r, err := parseRich(`rule priority="-5" family="ipv4" source NOT address="10.0.0.0/8" port port="80-90" protocol="tcp" log prefix="a b" level="info" limit value="1/m" drop`)
	if err != nil || r.Priority != -5 || r.Family != "ipv4" || r.Source.Address != "10.0.0.0/8" || !isTrue(r.Source.Invert) || r.Port.Port != "80-90" || r.Drop == nil || r.Accept != nil {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range []string{"", "rule", "port", `rule priority="x" drop`, `rule teleport drop`, `rule source address="1`} {
		if r, err := parseRich(bad); err == nil && bad != "rule" {
			t.Errorf("%q is %+v", bad, r)
		}
	}
}

func FuzzRule(f *testing.F) {
	for line := range strings.Lines(userRules) {
		f.Add(line)
	}
	f.Add(`rule family="ipv4" source address="10.0.0.0/8" port port="80" protocol="tcp" accept`)
	f.Fuzz(func(t *testing.T, line string) {
		if r, ok := parseRule(line); ok && r.unknown == nil {
			for _, p := range r.rules("", false) {
				if p.First > p.Last {
					t.Errorf("%q is ports %d to %d", line, p.First, p.Last)
				}
			}
		}
		parseRich(line)
	})
}

func FuzzBlock(f *testing.F) {
	f.Add("*filter\n-A a\nCOMMIT\n", "hoy-hoy0")
	f.Fuzz(func(t *testing.T, text, owner string) {
		if strings.Contains(owner, "\n") || strings.Contains(text, "# "+owner+":") {
			return
		}
		with, err := withBlock(text, owner, "-A x")
		if err != nil {
			return
		}
		if without, err := withBlock(with, owner, ""); err != nil || without != text {
			t.Errorf("%q became %q (%v)", text, without, err)
		}
	})
}
