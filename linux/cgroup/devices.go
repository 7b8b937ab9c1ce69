package cgroup

import (
	"errors"
	"fmt"
	"path"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

const (
	accessMknod = unix.BPF_DEVCG_ACC_MKNOD
	accessRead  = unix.BPF_DEVCG_ACC_READ
	accessWrite = unix.BPF_DEVCG_ACC_WRITE
	accessAll   = accessMknod | accessRead | accessWrite

	anyNumber = -1
)

// deviceRules decide by the last rule that speaks of a device and a kind of access.
type deviceRules struct {
	allow bool // what no rule speaks of
	list  []deviceRule
}

type deviceRule struct {
	allow        bool
	kind         byte // 'b' or 'c'
	major, minor int64
	access       int
}

// parseDevices reads the spec's rules; nil says that there are none. Rules before one
// for all devices do not matter. Without such a rule nothing is allowed to begin with.
func parseDevices(r *specs.LinuxResources) (*deviceRules, error) {
	if r == nil || len(r.Devices) == 0 {
		return nil, nil
	}
	d := &deviceRules{}
	for _, s := range r.Devices {
		major, err1 := parseNumberOf(s.Major)
		minor, err2 := parseNumberOf(s.Minor)
		access, err3 := parseAccess(s.Access)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		rule := deviceRule{allow: s.Allow, major: major, minor: minor, access: access}
		switch s.Type {
		case "", "a":
			if rule.major == anyNumber && rule.minor == anyNumber && rule.access == accessAll {
				*d = deviceRules{allow: s.Allow}
				continue
			}
			block := rule
			rule.kind, block.kind = 'c', 'b'
			d.list = append(d.list, rule, block)
		case "b", "c", "u":
			rule.kind = s.Type[0]
			if s.Type == "u" { // a character device without buffer, by mknod's old name
				rule.kind = 'c'
			}
			d.list = append(d.list, rule)
		default:
			return nil, fault.New(fault.Invalid, "%q is no type of device", s.Type)
		}
	}
	return d, nil
}

func parseNumberOf(n *int64) (int64, error) {
	if n == nil || *n == anyNumber {
		return anyNumber, nil
	}
	if *n < 0 || *n >= 1<<20 {
		return 0, fault.New(fault.Invalid, "%d is no device number", *n)
	}
	return *n, nil
}

func parseAccess(s string) (access int, err error) {
	for _, c := range s {
		switch c {
		case 'r':
			access |= accessRead
		case 'w':
			access |= accessWrite
		case 'm':
			access |= accessMknod
		default:
			return 0, fault.New(fault.Invalid, "%q is no access to a device: it is made of r, w and m", s)
		}
	}
	if s == "" {
		access = accessAll
	}
	return access, nil
}

// line is a rule in the form of devices.allow and devices.deny.
func (r deviceRule) line() string {
	number := func(n int64) string {
		if n == anyNumber {
			return "*"
		}
		return strconv.FormatInt(n, 10)
	}
	access := ""
	for i, c := range []string{"m", "r", "w"} {
		if r.access&(1<<i) != 0 {
			access += c
		}
	}
	return fmt.Sprintf("%c %s:%s %s", r.kind, number(r.major), number(r.minor), access)
}

func (g *Group) setDevices(d *deviceRules, fresh bool) error {
	if d == nil || d.allow && len(d.list) == 0 && fresh {
		return nil
	}
	var err error
	if v := g.host.find("devices"); v != nil {
		err = d.writeV1(v.fd(), g.rel, fresh)
	} else if g.host.unified != nil {
		err = g.attachDevices(d, fresh)
	} else {
		err = errors.New("this machine has no cgroup controller devices")
	}
	if err != nil {
		return fmt.Errorf("cannot set the device rules of cgroup %s: %w", g.path, err)
	}
	return nil
}

func (d *deviceRules) writeV1(dir int, rel string, fresh bool) error {
	if !d.allow {
		if err := writeFile(dir, path.Join(rel, "devices.deny"), "a"); err != nil {
			return err
		}
	} else if !fresh {
		if err := writeFile(dir, path.Join(rel, "devices.allow"), "a"); err != nil {
			return err
		}
	}
	for _, r := range d.list {
		file := "devices.deny"
		if r.allow {
			file = "devices.allow"
		}
		if err := writeFile(dir, path.Join(rel, file), r.line()); err != nil {
			return err
		}
	}
	return nil
}

// instructions are the rules as a program: from the last rule to the first, each takes
// its kinds of access off those still to be decided.
func (d *deviceRules) instructions() asm.Instructions {
	// struct bpf_cgroup_dev_ctx: access in the upper and type in the lower half of the
	// first word, major, minor.
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word),
		asm.Mov.Reg32(asm.R3, asm.R2),
		asm.And.Imm32(asm.R2, 0xffff),
		asm.RSh.Imm32(asm.R3, 16),
		asm.LoadMem(asm.R4, asm.R1, 4, asm.Word),
		asm.LoadMem(asm.R5, asm.R1, 8, asm.Word),
	}
	for i := len(d.list) - 1; i >= 0; i-- {
		r, next := d.list[i], "otherwise"
		if i > 0 {
			next = fmt.Sprint("rule", i-1)
		}
		kind := int32(unix.BPF_DEVCG_DEV_CHAR)
		if r.kind == 'b' {
			kind = unix.BPF_DEVCG_DEV_BLOCK
		}
		code = append(code, asm.JNE.Imm(asm.R2, kind, next).WithSymbol(fmt.Sprint("rule", i)))
		if r.major != anyNumber {
			code = append(code, asm.JNE.Imm(asm.R4, int32(r.major), next))
		}
		if r.minor != anyNumber {
			code = append(code, asm.JNE.Imm(asm.R5, int32(r.minor), next))
		}
		if r.allow {
			code = append(code, asm.And.Imm32(asm.R3, int32(accessAll&^r.access)), asm.JEq.Imm(asm.R3, 0, "allow"))
		} else {
			code = append(code, asm.Mov.Reg32(asm.R1, asm.R3), asm.And.Imm32(asm.R1, int32(r.access)), asm.JNE.Imm(asm.R1, 0, "deny"))
		}
	}
	otherwise := "deny"
	if d.allow {
		otherwise = "allow"
	}
	return append(code,
		asm.Ja.Label(otherwise).WithSymbol("otherwise"),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("deny"), asm.Return(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("allow"), asm.Return())
}

// attachDevices puts the program on the group's unified directory, in the place of an
// earlier one. The programs of the groups above go on deciding with it.
func (g *Group) attachDevices(d *deviceRules, fresh bool) error {
	p, err := g.host.program(d)
	if err != nil {
		return err
	}
	fd, err := unix.Openat(g.host.unified.fd(), g.rel, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	o := link.RawAttachProgramOptions{Target: fd, Program: p, Attach: ebpf.AttachCGroupDevice, Flags: unix.BPF_F_ALLOW_MULTI}
	if !fresh {
		old, err := link.QueryPrograms(link.QueryOptions{Target: fd, Attach: ebpf.AttachCGroupDevice})
		if err != nil {
			return err
		}
		if len(old.Programs) > 0 {
			before, err := ebpf.NewProgramFromID(old.Programs[0].ID)
			if err != nil {
				return err
			}
			defer before.Close()
			same, err := sameProgram(before, p)
			if err != nil || same {
				return err
			}
			o.Anchor = link.ReplaceProgram(before)
		}
	}
	return link.RawAttachProgram(o)
}

// sameProgram says whether two descriptors are of one program, which the kernel would
// not let take its own place.
func sameProgram(a, b *ebpf.Program) (bool, error) {
	x, err := a.Info()
	if err != nil {
		return false, err
	}
	y, err := b.Info()
	if err != nil {
		return false, err
	}
	i, _ := x.ID()
	j, _ := y.ID()
	return i == j, nil
}

// program loads the program for d, or returns the one loaded before: containers mostly
// have the same rules.
func (h *Host) program(d *deviceRules) (*ebpf.Program, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := fmt.Sprint(*d)
	if p := h.programs[key]; p != nil {
		return p, nil
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "hoy_devices", Type: ebpf.CGroupDevice, Instructions: d.instructions(), License: "Apache-2.0"})
	if err != nil {
		return nil, fmt.Errorf("cannot load the device filter: %w", err)
	}
	h.programs[key] = p
	return p, nil
}
