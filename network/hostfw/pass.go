package hostfw

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"hoy/lib/atomicfile"
	"hoy/linux/nft"
	"hoy/network/firewall"
)

// ufwForward are the chains of ufw that packets meet which the host forwards, with the
// files that ufw fills them from.
var ufwForward = []struct {
	file  string
	chain nft.Foreign
}{
	{"/etc/ufw/before.rules", nft.Foreign{Family: "ip", Table: "filter", Chain: "ufw-before-forward"}},
	{"/etc/ufw/before6.rules", nft.Foreign{Family: "ip6", Table: "filter", Chain: "ufw6-before-forward"}},
}

var firewalldForward = nft.Foreign{Family: "inet", Table: firewalldTable, Chain: "filter_FORWARD"}

// Pass lets packets that carry firewall.Mark pass the forwarding policy of the host's
// own firewall, by one rule that is marked with the owner's name, the engine's table.
//
// A policy of firewalld's (firewalld.policies(5)) could say it in a file, but knows no
// marks: it would let pass what goes to the addresses, or the links, of our networks,
// whoever sends it. Who deletes the engine's table would then open every port of every
// container to who routes to it, and each network would be a change to firewalld's files.
// By the mark the same deletion closes all, and the rule is one for good. What it costs:
// after a reload of firewalld new connections wait up to 50 ms for it (Follow).
//
// Pass may be called again at any time: what is there stays. What it returns are
// warnings: rules that the administrator of another firewall has to add.
func (h Host) Pass(owner string) ([]string, error) {
	switch {
	case h.ufwEnabled():
		return h.passUFW(owner)
	case h.firewalldRuns():
		return nil, nft.Pass(firewalldForward, firewall.Mark, owner)
	}
	return unknown(owner)
}

// Unpass removes what Pass has added, of whichever firewall.
func (h Host) Unpass(owner string) error {
	var errs []error
	for _, u := range ufwForward {
		_, err := editBlock(h.path(u.file), owner, "")
		errs = append(errs, err, nft.Unpass(u.chain, owner))
	}
	return errors.Join(append(errs, nft.Unpass(firewalldForward, owner))...)
}

// passUFW adds the rule to ufw's files, for the next time that it loads them, and to
// the rules that it has loaded.
func (h Host) passUFW(owner string) (warnings []string, err error) {
	for _, u := range ufwForward {
		rule := fmt.Sprintf("-A %s -m mark --mark 0x%x/0x%x -j ACCEPT", u.chain.Chain, firewall.Mark, firewall.Mark)
		changed, err := editBlock(h.path(u.file), owner, rule)
		if err != nil {
			return nil, err
		}
		if err := nft.Pass(u.chain, firewall.Mark, owner); err != nil {
			return nil, err
		}
		if changed && u.chain.Family == "ip" && !nft.ExistsChain(u.chain) {
			warnings = append(warnings, "ufw's rules are not in nftables (iptables-legacy), so that containers pass them only when ufw has loaded its files anew: run 'ufw reload'")
		}
	}
	return warnings, nil
}

// editBlock makes the owner's block in a file of iptables-restore's format hold a rule,
// or be gone. It is the last thing of the filter table:
//
//	# hoy-hoy0: containers (hoy adds and removes this)
//	-A ufw-before-forward …
//	# hoy-hoy0: end
//	COMMIT
//
// A file that is not there is no error, and one that is right is not written.
func editBlock(path, owner, rule string) (changed bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot let containers pass the host's firewall: %w", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("cannot let containers pass the host's firewall: %w", err)
	}
	text, err := withBlock(string(b), owner, rule)
	if err != nil {
		return false, fmt.Errorf("cannot let containers pass the host's firewall: %s: %w", path, err)
	}
	if text == string(b) {
		return false, nil
	}
	return true, atomicfile.WriteSync(path, []byte(text), info.Mode().Perm())
}

func withBlock(text, owner, rule string) (string, error) {
	begin, end := "# "+owner+": containers (hoy adds and removes this)", "# "+owner+": end"
	lines := strings.Split(text, "\n")
	if i := slices.Index(lines, begin); i >= 0 {
		j := slices.Index(lines[i:], end)
		if j < 0 {
			return "", fmt.Errorf("the block %q does not end: remove it", begin)
		}
		lines = slices.Delete(lines, i, i+j+1)
	}
	if rule == "" {
		return strings.Join(lines, "\n"), nil
	}
	filter := slices.Index(lines, "*filter")
	if filter < 0 {
		return "", errors.New("there is no line *filter")
	}
	commit := slices.Index(lines[filter:], "COMMIT")
	if commit < 0 {
		return "", errors.New("there is no line COMMIT")
	}
	return strings.Join(slices.Insert(lines, filter+commit, begin, rule, end), "\n"), nil
}

// unknown warns of chains that drop what they do not know, of firewalls whose
// configuration is nothing that we read.
func unknown(owner string) ([]string, error) {
	input, forward, err := nft.Dropping()
	if err != nil {
		return nil, err
	}
	var warnings []string
	for _, c := range input {
		warnings = append(warnings, fmt.Sprintf("published ports do not obey the chain %s, which drops what comes to the host: hoy reads ufw's and firewalld's configuration only; publish at 127.0.0.1 what shall not be reached", c))
	}
	for _, c := range forward {
		rule := fmt.Sprintf("nft insert rule %s meta mark \\& 0x%x == 0x%x accept", c, firewall.Mark, firewall.Mark)
		if c.Family != "inet" && c.Table == "filter" {
			rule = fmt.Sprintf("%stables -I %s -m mark --mark 0x%x/0x%x -j ACCEPT", c.Family, c.Chain, firewall.Mark, firewall.Mark)
		}
		warnings = append(warnings, fmt.Sprintf("the chain %s drops what the host forwards, so that containers reach nobody and published ports lead nowhere: add the rule %q", c, rule))
	}
	slices.Sort(warnings)
	return warnings, nil
}
