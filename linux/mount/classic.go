package mount

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// classic are the options of mount(8) that are flags of mount(2).
var classic = map[string]struct{ set, clear uintptr }{
	"defaults": {}, "nomand": {}, "ro": {set: unix.MS_RDONLY}, "rw": {clear: unix.MS_RDONLY},
	"nosuid": {set: unix.MS_NOSUID}, "suid": {clear: unix.MS_NOSUID}, "nodev": {set: unix.MS_NODEV}, "dev": {clear: unix.MS_NODEV},
	"noexec": {set: unix.MS_NOEXEC}, "exec": {clear: unix.MS_NOEXEC}, "sync": {set: unix.MS_SYNCHRONOUS}, "async": {clear: unix.MS_SYNCHRONOUS},
	"dirsync": {set: unix.MS_DIRSYNC}, "noatime": {set: unix.MS_NOATIME}, "atime": {clear: unix.MS_NOATIME},
	"nodiratime": {set: unix.MS_NODIRATIME}, "diratime": {clear: unix.MS_NODIRATIME},
	"relatime": {set: unix.MS_RELATIME}, "norelatime": {clear: unix.MS_RELATIME},
	"strictatime": {set: unix.MS_STRICTATIME}, "nostrictatime": {clear: unix.MS_STRICTATIME},
	"bind": {set: unix.MS_BIND}, "rbind": {set: unix.MS_BIND | unix.MS_REC},
	"private": {set: unix.MS_PRIVATE}, "rprivate": {set: unix.MS_PRIVATE | unix.MS_REC},
	"shared": {set: unix.MS_SHARED}, "rshared": {set: unix.MS_SHARED | unix.MS_REC},
	"slave": {set: unix.MS_SLAVE}, "rslave": {set: unix.MS_SLAVE | unix.MS_REC},
	"unbindable": {set: unix.MS_UNBINDABLE}, "runbindable": {set: unix.MS_UNBINDABLE | unix.MS_REC},
}

// ClassicOptions splits options as mount(8) takes them, "ro,size=1m", into the flags
// of mount(2) and what is left for the file system.
func ClassicOptions(options string) (flags uintptr, data string) {
	var rest []string
	for o := range strings.SplitSeq(options, ",") {
		f, known := classic[o]
		switch {
		case known:
			flags = flags&^f.clear | f.set
		case o != "":
			rest = append(rest, o)
		}
	}
	return flags, strings.Join(rest, ",")
}

const propagation = unix.MS_PRIVATE | unix.MS_SHARED | unix.MS_SLAVE | unix.MS_UNBINDABLE

// Classic mounts as the command mount -t fstype -o options source target does, without
// the programs that some file systems bring for it. A bind takes its flags by a second
// call, as does a propagation: mount(2) would overlook them in the first.
func Classic(source, target, fstype, options string) error {
	flags, data := ClassicOptions(options)
	if err := unix.Mount(source, target, fstype, flags&^propagation, data); err != nil {
		return fmt.Errorf("mount %s:%s%s: %w", source, target, given(flags, data), err)
	}
	var again []uintptr
	if bind := uintptr(unix.MS_BIND); flags&bind != 0 && flags&^(bind|unix.MS_REC|propagation) != 0 {
		again = append(again, flags&^(propagation|unix.MS_REC)|unix.MS_REMOUNT)
	}
	if flags&propagation != 0 {
		again = append(again, flags&(propagation|unix.MS_REC))
	}
	for _, f := range again {
		if err := unix.Mount("", target, "", f, ""); err != nil {
			unix.Unmount(target, unix.MNT_DETACH)
			return fmt.Errorf("mount %s:%s, flags: %#x: %w", source, target, f, err)
		}
	}
	return nil
}

// given tells what a mount was asked for besides, as docker does.
func given(flags uintptr, data string) (s string) {
	if flags != 0 {
		s = fmt.Sprintf(", flags: %#x", flags)
	}
	if data != "" {
		s += ", data: " + data
	}
	return s
}
