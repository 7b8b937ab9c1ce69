package nft

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// WatchTable calls gone when the table is not there, and whenever it has been deleted
// and not made again in the same transaction, until ctx ends.
func WatchTable(ctx context.Context, table string, gone func()) error {
	check := func() {
		if !Exists(table) {
			gone()
		}
	}
	return watch(ctx, check, func(kind netlink.HeaderType, name string) bool {
		return name == table && (kind == message(unix.NFT_MSG_NEWTABLE) || kind == message(unix.NFT_MSG_DELTABLE))
	})
}

// WatchRules calls changed at first, and whenever something in tables of these names
// has changed, until ctx ends.
func WatchRules(ctx context.Context, changed func(), names ...string) error {
	return watch(ctx, changed, func(_ netlink.HeaderType, name string) bool { return slices.Contains(names, name) })
}

func message(kind netlink.HeaderType) netlink.HeaderType { return unix.NFNL_SUBSYS_NFTABLES<<8 | kind }

func watch(ctx context.Context, changed func(), concerned func(kind netlink.HeaderType, table string) bool) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("cannot watch the nftables rules: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer func() {
		if stop() {
			c.Close()
		}
	}()
	if err := c.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("cannot watch the nftables rules: %w", err)
	}
	changed() // since before anybody looked
	for {
		list, err := c.Receive()
		if ctx.Err() != nil {
			return nil
		}
		// When events were lost it may have been that one: what counts is what is there.
		lost := errors.Is(err, unix.ENOBUFS)
		if err != nil && !lost {
			return fmt.Errorf("cannot watch the nftables rules: %w", err)
		}
		if lost || slices.ContainsFunc(list, func(m netlink.Message) bool { return concerned(m.Header.Type, tableOfMessage(m)) }) {
			changed()
		}
	}
}

// tableOfMessage is the name of the table that a message is about: the first attribute
// of all of them but those about generations.
func tableOfMessage(m netlink.Message) string {
	const header = 4 // struct nfgenmsg
	if m.Header.Type == message(unix.NFT_MSG_NEWGEN) || len(m.Data) < header {
		return ""
	}
	d, err := netlink.NewAttributeDecoder(m.Data[header:])
	if err != nil || !d.Next() || d.Type() != unix.NFTA_TABLE_NAME {
		return ""
	}
	return d.String()
}

// Exists says whether there is a table of this name.
func Exists(table string) bool {
	c, err := nftables.New()
	if err != nil {
		return false
	}
	t, err := c.ListTableOfFamily(table, nftables.TableFamilyINet)
	return err == nil && t != nil
}
