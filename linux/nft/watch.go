package nft

import (
	"context"
	"errors"
	"fmt"

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
	return WatchTables(ctx, check)
}

// WatchTables calls changed at first, and whenever tables have been deleted, by whom it
// may be, until ctx ends.
func WatchTables(ctx context.Context, changed func()) error {
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
		if lost || deletion(list) {
			changed()
		}
	}
}

func deletion(list []netlink.Message) bool {
	for _, m := range list {
		if m.Header.Type == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE {
			return true
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
