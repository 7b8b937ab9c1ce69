package nft

import (
	"context"
	"fmt"

	"github.com/google/nftables"
)

// WatchTable calls gone whenever the table has been deleted and not made again in the
// same transaction, until ctx ends.
func WatchTable(ctx context.Context, table string, gone func()) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("cannot watch the nftables rules: %w", err)
	}
	m := nftables.NewMonitor(nftables.WithMonitorAction(nftables.MonitorActionDel), nftables.WithMonitorObject(nftables.MonitorObjectTables))
	events, err := c.AddMonitor(m)
	if err != nil {
		return fmt.Errorf("cannot watch the nftables rules: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { m.Close() })
	defer stop()
	for e := range events {
		if ctx.Err() != nil {
			return nil
		}
		t, ok := e.Data.(*nftables.Table)
		if e.Error == nil && (!ok || t.Name != table || t.Family != nftables.TableFamilyINet) {
			continue
		}
		// After lost events (e.Error), too, what counts is what is there now.
		if !Exists(table) {
			gone()
		}
		if e.Error != nil {
			return fmt.Errorf("cannot watch the nftables rules: %w", e.Error)
		}
	}
	return nil
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
