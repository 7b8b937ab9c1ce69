package nft

import (
	"bytes"
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
	return WatchTables(ctx, check, table)
}

// WatchTables calls changed at first, and whenever a table of one of these names has
// been made or deleted, until ctx ends.
func WatchTables(ctx context.Context, changed func(), names ...string) error {
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
		if lost || concerns(list, names) {
			changed()
		}
	}
}

func concerns(list []netlink.Message, names []string) bool {
	const header = 4 // struct nfgenmsg
	for _, m := range list {
		switch m.Header.Type {
		case unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE, unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELTABLE:
		default:
			continue
		}
		if len(m.Data) < header {
			continue
		}
		attributes, err := netlink.UnmarshalAttributes(m.Data[header:])
		if err != nil {
			continue
		}
		for _, a := range attributes {
			if a.Type == unix.NFTA_TABLE_NAME && slices.Contains(names, string(bytes.TrimRight(a.Data, "\x00"))) {
				return true
			}
		}
	}
	return false
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
