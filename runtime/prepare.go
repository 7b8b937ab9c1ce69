package runtime

import (
	"fmt"
	"os"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/cleanup"
	"hoy/lib/fault"
	"hoy/linux/mount"
)

// builder gathers what a container's script is made of.
type builder struct {
	rt   *Runtime
	c    Container
	spec *specs.Spec
	p    *Prepared

	owner            owner
	rootUID, rootGID int // of the container, as the host counts
	ns               namespaces
	trees            trees
	attachments      []attachment
	late             []func() error // once everything is in its place, outside
	covers           []cover
	pts, tty         *os.File
	null             *os.File     // detached copy of the host's /dev/null, for masks
	group            func() error // waits until the cgroup is made
	tasks            []*os.File
	process          process
}

// keep closes f when the Prepared is closed.
func (b *builder) keep(f *os.File) { b.p.files.Add(func() { f.Close() }) }

// Prepare makes a container ready to be started. When it fails nothing is left.
func (r *Runtime) Prepare(c Container) (*Prepared, error) {
	if err := check(c.Spec); err != nil {
		return nil, err
	}
	b := &builder{rt: r, c: c, spec: c.Spec, p: &Prepared{}}
	var undo cleanup.Stack
	defer undo.Run()
	undo.Add(b.p.Close)
	if err := b.prepare(&undo); err != nil {
		return nil, err
	}
	undo.Release()
	return b.p, nil
}

func (b *builder) prepare(undo *cleanup.Stack) error {
	if err := b.identities(); err != nil {
		return err
	}
	// Making the cgroup takes about as long as all the rest: both go on at once.
	made := make(chan error, 1)
	go func() { made <- b.createGroup() }()
	b.group = sync.OnceValue(func() error { return <-made })
	err := b.owner.do(b.fileSystem)
	if groupErr := b.group(); groupErr != nil {
		return groupErr
	}
	if b.p.Cgroup != nil {
		undo.Add(b.p.Abort)
	}
	if err != nil {
		return err
	}
	if err := b.openTasks(); err != nil {
		return err
	}
	for _, f := range b.late {
		if err := f(); err != nil {
			return err
		}
	}
	if b.p.Plan, err = b.script().Seal(); err != nil {
		return fmt.Errorf("cannot finish the spawn plan: %w", err)
	}
	b.p.files.Add(func() { b.p.Plan.Close() })
	return nil
}

// createGroup makes the container's cgroup. A spec without a path leaves the
// container in its parent's.
func (b *builder) createGroup() (err error) {
	path, limits := b.spec.Linux.CgroupsPath, b.spec.Linux.Resources
	if path != "" {
		b.p.Cgroup, err = b.rt.cgroups.Create(path, limits)
		return err
	}
	if limits != nil {
		return fault.New(fault.Invalid, "the spec limits resources and names no cgroup")
	}
	return nil
}

// openTasks opens the cgroup for the child to enter.
func (b *builder) openTasks() (err error) {
	if b.p.Cgroup == nil {
		return nil
	}
	b.p.files.Add(func() { b.p.Cgroup.Close() })
	b.tasks, err = b.p.Cgroup.Tasks()
	return err
}

// groupPath is the container's path within the hierarchies.
func (b *builder) groupPath() string {
	if b.p.Cgroup == nil {
		return "/"
	}
	return b.p.Cgroup.Path()
}

// identities finds out who the container's users and namespaces are.
func (b *builder) identities() error {
	var err error
	if b.ns, err = b.openNamespaces(); err != nil {
		return err
	}
	if b.owner, err = newOwner(b.spec.Linux, b.c.UserNS); err != nil {
		return err
	}
	if b.rootUID, err = b.owner.uid(0); err != nil {
		return err
	}
	if b.rootGID, err = b.owner.gid(0); err != nil {
		return err
	}
	u := b.spec.Process.User
	if b.p.StdioUID, err = b.owner.uid(u.UID); err != nil {
		return err
	}
	if b.p.StdioGID, err = b.owner.gid(u.GID); err != nil {
		return err
	}
	b.process, err = b.rt.newProcess(b.spec.Process, b.spec.Linux.Seccomp)
	if err == nil && b.c.Init {
		b.process.argv = append([]string{initPath, "--"}, b.process.argv...)
		b.process.programs = []string{initPath}
	}
	b.p.failure = explainer{root: b.c.Root, process: &b.process}
	return err
}

// fileSystem makes the container's mounts, devices and working directory.
func (b *builder) fileSystem() error {
	root, err := b.rootMount()
	if err != nil {
		return err
	}
	b.trees = trees{{at: "/", root: root}}
	if err := b.mounts(); err != nil {
		return err
	}
	if err := b.devices(); err != nil {
		return err
	}
	if b.spec.Process.Terminal {
		if err := b.openTerminal(); err != nil {
			return err
		}
	}
	if err := b.workingDirectory(); err != nil {
		return err
	}
	return b.coverPaths()
}

// rootMount returns the root as a detached mount.
func (b *builder) rootMount() (*os.File, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(b.c.Root.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &st); err != nil {
		return nil, fmt.Errorf("cannot inspect the root file system: statx: %w", err)
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return b.c.Root, nil
	}
	f, err := mount.BindFile(b.c.Root, true)
	if err != nil {
		return nil, err
	}
	b.keep(f)
	return f, mount.SetAttr(f, true, 0, 0, unix.MS_PRIVATE, nil)
}

// workingDirectory creates the working directory where it is missing, for root as
// docker does.
func (b *builder) workingDirectory() error {
	cwd := b.spec.Process.Cwd
	if cwd == "" || cwd == "/" {
		return nil
	}
	t, err := b.trees.resolve(cwd)
	if err != nil {
		return fmt.Errorf("cannot find the working directory %s: %w", cwd, err)
	}
	if t.tree.root == nil {
		return nil
	}
	f, err := t.place.Mkdir(0o755, b.rootUID, b.rootGID)
	if err != nil {
		return fmt.Errorf("cannot create the working directory %s: %w", cwd, err)
	}
	return f.Close()
}
