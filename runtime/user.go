package runtime

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/mount"
)

// maxAccounts bounds the size of the container's /etc/passwd and /etc/group that is
// read: they are the image author's.
const maxAccounts = 4 << 20

// LookupUser finds a user as docker's USER and --user name it, name|uid[:group|gid],
// and additional groups in the container's own /etc/passwd and /etc/group. Links in
// the container never lead out of it. home is the user's home directory, "/" when
// the files name none.
func LookupUser(root *os.File, name string, groups []string) (u specs.User, home string, err error) {
	passwd, err := readAccounts(root, "/etc/passwd")
	if err != nil {
		return u, "", err
	}
	group, err := readAccounts(root, "/etc/group")
	if err != nil {
		return u, "", err
	}
	found, err := user.GetExecUser(name, &user.ExecUser{Home: "/"}, strings.NewReader(passwd), strings.NewReader(group))
	if err != nil {
		return u, "", fault.New(fault.Invalid, "%w", err) // it says what it did not find, in docker's words
	}
	u.UID, u.GID = uint32(found.Uid), uint32(found.Gid)
	extra, err := user.GetAdditionalGroups(groups, strings.NewReader(group))
	if err != nil {
		return u, "", fault.New(fault.Invalid, "cannot find groups %q: %w", groups, err)
	}
	slices.Sort(extra) // they come in no order
	// The primary group is among the additional ones, so that a set-group-ID program
	// cannot lose a group that a file's permissions deny (CVE-2022-36109).
	for _, g := range append(append([]int{found.Gid}, found.Sgids...), extra...) {
		if !slices.Contains(u.AdditionalGids, uint32(g)) {
			u.AdditionalGids = append(u.AdditionalGids, uint32(g))
		}
	}
	if found.Home == "" {
		found.Home = "/"
	}
	return u, found.Home, nil
}

// readAccounts returns the text of a file of the container, "" when there is none.
func readAccounts(root *os.File, path string) (string, error) {
	f, _, err := mount.OpenRegular(root, path, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return "", nil
	case errors.Is(err, mount.ErrNotRegular):
		return "", fault.New(fault.Invalid, "cannot read the container's %s: %w", path, mount.ErrNotRegular)
	case err != nil:
		return "", fmt.Errorf("cannot read the container's %s: %w", path, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxAccounts+1))
	if err != nil {
		return "", fmt.Errorf("cannot read the container's %s: %w", path, err)
	}
	if len(b) > maxAccounts {
		return "", fault.New(fault.Invalid, "cannot read the container's %s: it is larger than %d bytes", path, maxAccounts)
	}
	return string(b), nil
}
