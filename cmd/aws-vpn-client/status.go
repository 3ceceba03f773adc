package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
)

// connectionStatus is get-connection-status's answer.
type connectionStatus struct {
	Status  string   `json:"connection-status"`
	Attempt *attempt `json:"latest-connection-attempt,omitempty"`
}

type attempt struct {
	By      string   `json:"initiated-by,omitempty"` // unknown for global profiles
	Updated *string  `json:"updated-at,omitempty"`
	Details *details `json:"details,omitempty"`
}

// details are bytes: of packets in the tunnel, and of all that was exchanged with the server for them.
type details struct {
	TunnelIn     uint64 `json:"tunnel-bytes-in"`
	TunnelOut    uint64 `json:"tunnel-bytes-out"`
	TransportIn  uint64 `json:"transport-bytes-in"`
	TransportOut uint64 `json:"transport-bytes-out"`
}

// listed is an entry of list-connections.
type listed struct {
	Profile string  `json:"profile-name"`
	By      string  `json:"initiated-by,omitempty"`
	Status  string  `json:"connection-status"`
	Updated *string `json:"last-updated-at,omitempty"`
}

func newGetConnectionStatus(a *app) *cobra.Command {
	var name *string
	var detailed *bool
	cmd := command("get-connection-status", "Get the connection status of a profile", func(ctx context.Context) error {
		c := a.service()
		defer c.Close()
		if _, err := find(ctx, c, *name); err != nil {
			return err
		}
		s, err := c.AsUser().Status(ctx)
		if err != nil {
			return err
		}
		answer := connectionStatus{Status: notConnected}
		if conn := connectionOf(s, *name); conn != nil {
			answer.Status = stateName(conn.State)
			answer.Attempt = &attempt{By: conn.Owner, Updated: a.moment(conn.Since)}
			if n := conn.Counters; *detailed && answer.Status != notConnected {
				answer.Attempt.Details = &details{n.RxBytes, n.TxBytes, n.WireRxBytes, n.WireTxBytes}
			}
		}
		return a.json(answer)
	})
	name = required(cmd, "profile-name", "name of the profile")
	detailed = cmd.Flags().Bool("show-details", false, "include byte counters")
	return cmd
}

func newListConnections(a *app) *cobra.Command {
	return command("list-connections", "List all active connections", func(ctx context.Context) error {
		c := a.service()
		defer c.Close()
		s, err := c.AsUser().Status(ctx)
		if err != nil {
			return err
		}
		list := []listed{}
		for _, conn := range s.Named() {
			if state := stateName(conn.State); state != notConnected {
				list = append(list, listed{conn.Profile, conn.Owner, state, a.moment(conn.Since)})
			}
		}
		return a.json(list)
	})
}

const notConnected = "NotConnected"

// stateName is AWS's word for a state. Blocked is the guard's: there is no tunnel.
func stateName(s api.State) string {
	switch s {
	case api.Connecting:
		return "Connecting"
	case api.NeedsLogin:
		return "WaitingForIdentity"
	case api.Connected:
		return "Connected"
	case api.Reconnecting:
		return "Reconnecting"
	case api.Disconnecting:
		return "Disconnecting"
	}
	return notConnected
}

// connectionOf is the caller's connection with a profile, or nil.
func connectionOf(s api.Status, name string) *api.Connection {
	for _, c := range s.Named() {
		if c.Profile == name {
			return &c
		}
	}
	return nil
}

// find looks a profile up.
func find(ctx context.Context, c *api.Client, name string) (api.Profile, error) {
	list, err := c.Profiles(ctx)
	if err != nil {
		return api.Profile{}, err
	}
	for _, p := range list {
		if p.Name == name {
			return p, nil
		}
	}
	return api.Profile{}, errNotFound
}
